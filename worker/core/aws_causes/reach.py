"""Causes for which not a byte of a request reaches AWS: names, ports, certificates, proxies."""

from __future__ import annotations

from typing import Final

from worker.core.aws_causes.cause import Cause
from worker.core.records import FaultKind

NAME_NOT_RESOLVED: Final = "NameNotResolved"
NOT_CONNECTED: Final = "NotConnected"
TLS_FAILED: Final = "TlsFailed"
CERTIFICATE_NOT_TRUSTED: Final = "CertificateNotTrusted"
CERTIFICATE_OF_ANOTHER: Final = "CertificateOfAnotherHost"
CERTIFICATE_OUT_OF_DATE: Final = "CertificateOutOfDate"
PROXY_LOGIN: Final = "ProxyLoginRefused"
PROXY_REFUSES: Final = "ProxyRefuses"
NO_HTTP_PROXY: Final = "NoHttpProxy"

PASSING: Final = frozenset(
    {NAME_NOT_RESOLVED, NOT_CONNECTED, TLS_FAILED, PROXY_REFUSES, NO_HTTP_PROXY}
)
"""Those that a single connection may meet while others succeed."""

_ADDRESS: Final = "correct the setting that the address comes from"
_PROXIES: Final = (
    "HTTPS_PROXY (for http:// addresses HTTP_PROXY) names the proxy, NO_PROXY the hosts that need "
    "none; ALL_PROXY is not used"
)


def _cause(codes: tuple[str, ...], meaning: str, remedy: str) -> Cause:
    return Cause(codes, FaultKind.SYSTEMIC, meaning, remedy)


REACH: Final = (
    _cause(
        (NAME_NOT_RESOLVED,),
        "DNS does not know the host, or does not answer.",
        f"{_ADDRESS} (a region with a typing error gives a name that nobody knows), or check DNS; "
        f"{_PROXIES}",
    ),
    _cause(
        (NOT_CONNECTED,),
        "No connection could be made: nothing of the request was sent.",
        "open outgoing connections to it (firewall, route, the security group of a VPC endpoint), "
        f"or {_ADDRESS}; {_PROXIES}",
    ),
    _cause(
        (TLS_FAILED,),
        "The server does not speak TLS as it should.",
        f"{_ADDRESS}: is this the port for TLS? Otherwise look for a proxy or firewall that ends "
        "TLS connections",
    ),
    _cause(
        (CERTIFICATE_NOT_TRUSTED,),
        "The server's certificate is not trusted.",
        "set AWS_CA_BUNDLE (--ca-bundle) to the authority that signed the certificate; a proxy "
        "that intercepts TLS has its own authority",
    ),
    _cause(
        (CERTIFICATE_OF_ANOTHER,),
        "The server's certificate is for another host name.",
        f"{_ADDRESS}: use a name that the certificate bears; another authority would not help",
    ),
    _cause(
        (CERTIFICATE_OUT_OF_DATE,),
        "The server's certificate is not valid at this machine's time.",
        "set this machine's clock if it is off (`timedatectl`, NTP); otherwise the server's "
        "certificate must be renewed",
    ),
    _cause(
        (PROXY_LOGIN,),
        "The proxy wants a user and password, or others than it was given.",
        "put the right user and password into the proxy's address, http://user:password@host:port "
        f"with special characters percent-encoded; {_PROXIES}",
    ),
    _cause(
        (PROXY_REFUSES,),
        "The proxy does not let the connection through.",
        "allow the proxy's clients to connect to that host and port, or add the host to NO_PROXY "
        f"if it can be reached without; {_PROXIES}",
    ),
    _cause(
        ("BadProxy",),
        "The address of a proxy can't be used.",
        f"correct the proxy's address; {_PROXIES}",
    ),
    _cause(
        (NO_HTTP_PROXY,),
        "What answers there is not an HTTP proxy.",
        "use the address of an HTTP proxy (SOCKS is not supported), or add the host to NO_PROXY "
        f"if it can be reached without; {_PROXIES}",
    ),
)
