"""Why a connection could not be opened, in words for an operator and free of credentials."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import pamqp.exceptions
from aiormq import exceptions as amqp

from worker.adapters.certificate_errors import certificate_remedy
from worker.adapters.reach import UnknownName
from worker.adapters.shortages import shortage_behind
from worker.adapters.tls_files import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.adapters.racing import Failed
    from worker.core.addresses.amqp import BrokerAddress
    from worker.core.exceptions import BrokerUnavailable


HANDSHAKE_BROKEN: Final = (
    "the connection was closed during the handshake; is the broker starting or stopping, and is "
    "this its AMQP port?"
)
_NO_BROKER: Final = "what answers there does not speak AMQP 0-9-1; is this its AMQP port?"


URL: Final = "WORKER_AMQP__URL"
"""The setting with the address that workers use."""


def with_setting(error: BrokerUnavailable, setting: str) -> str:
    """Why no connection could be opened, with the setting that the address comes from."""
    return f"{error}; the address is {setting}"


def words_of_url(fault: ValueError) -> str:
    """Why a URL can't be used; only our own words are certain not to quote it."""
    return str(fault) if type(fault) is ValueError or isinstance(fault, UnusableFile) else _NO_URL


_NO_URL: Final = "can't be used: it is written amqp://user:password@host:port/vhost"


def opening_faults(failed: Sequence[Failed], broker: BrokerAddress) -> str:
    """What was wrong and what to do about it, from whatever the library raised at each address."""
    told = {each: opening_fault(each.error, broker) for each in sorted(failed, key=_place)}
    telling = told[min(failed, key=lambda each: _rank(each.error))]
    if len(set(told.values())) == 1:
        return telling
    what = ", ".join(f"{place}: {fault.partition('; ')[0]}" for (place, _), fault in told.items())
    return f"no host can be used ({what}); {telling.partition('; ')[2]}"


def _place(failed: Failed) -> str:
    return failed.place  # the order in which they were tried says nothing


def _rank(error: Exception) -> int:
    """How little an error tells."""
    both = (error, error.__cause__)  # the library wraps what the system says
    return next(
        (n for n, kind in enumerate(_TELLING, 1) if any(isinstance(each, kind) for each in both)), 0
    )


_TELLING: Final = (UnknownName, ConnectionRefusedError, TimeoutError)


def opening_fault(error: Exception, broker: BrokerAddress) -> str:
    """As `opening_faults`, of one address."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time; is there a firewall, or a broker under alarm?"
    if short := shortage_behind(error):
        return f"{short} ({words(error)})"
    for candidate in (error, error.__cause__):
        for kind, explain in _FAULTS:
            if isinstance(candidate, kind):
                return explain(candidate, broker)
    return f"{words(error)}; is the broker running, and is this its AMQP port?" + _question(broker)


def _question(broker: BrokerAddress) -> str:
    """With TLS 1.3 a broker that misses a client's certificate says so after the handshake."""
    if not broker.encrypted or broker.files.certificate:
        return ""
    return " Does it ask for a client's certificate (certfile)?"


_FORESEEN: Final = (
    amqp.AMQPError,
    pamqp.exceptions.PAMQPException,
    OSError,
    # What both libraries raise for the use of something closed.
    RuntimeError,
    # What aiormq lets out when the connection goes in the middle of a handshake or a frame.
    StopAsyncIteration,
    EOFError,
)
_MOST_WORDS: Final = 300


def words(error: BaseException) -> str:
    """What an error of the library says, without its class; the class alone of one that is odd.

    An odd one may quote the URL, and its words say little to whoever does not read the library.
    """
    # aiormq gives whoever waits on a connection that it closes without a reason a bare Exception.
    if not (isinstance(error, _FORESEEN) or type(error) is Exception):
        return f"the client library failed in a way not foreseen: {type(error).__name__}"
    texts = [str(part) for part in error.args if part not in (None, "")]
    return (": ".join(texts) or type(error).__name__)[:_MOST_WORDS]


def _unknown(error: Any, _: BrokerAddress) -> str:
    return f"{error}; correct the host name, or check DNS"


def _untrusted(error: Any, _: BrokerAddress) -> str:
    authority = (
        "name the authority that signed it with cafile in the URL, or give the broker one that is "
        "trusted"
    )
    remedy = certificate_remedy(error, "the URL", authority)
    return f"its certificate is not trusted ({error.verify_message}); {remedy}"


def _tls_failed(_: Any, broker: BrokerAddress) -> str:
    return "TLS failed; is this its TLS port (5671 by default)?" + _question(broker)


def _login_refused(_: Any, broker: BrokerAddress) -> str:
    if broker.external:
        return (
            "login refused; create the user that the certificate of certfile names (see "
            "ssl_cert_login_from in the broker's configuration)"
        )
    if broker.password is None and broker.user not in {None, "guest"}:
        return f"login refused; the URL has no password: add that of {broker.user}"
    return "login refused; check user and password (guest may log in from loopback only)"


def _no_login(_: Any, broker: BrokerAddress) -> str:
    if broker.external:
        return (
            "the broker does not offer login by certificate; enable its plug-in "
            "rabbitmq_auth_mechanism_ssl, and let it offer EXTERNAL (auth_mechanisms)"
        )
    return "the broker does not offer password login; let it offer PLAIN (auth_mechanisms)"


def _closed(error: BaseException, _: BrokerAddress) -> str:
    return f"the broker closed the connection ({words(error)}); look into its log"


def _unexpected(error: BaseException, _: BrokerAddress) -> str:
    # The library shows what it waited for, and drops the broker's words about a virtual host.
    if "Connection.OpenOk" in words(error):
        return (
            "the virtual host is refused; mend the end of the URL, create the virtual host, or "
            "grant the user permissions on it"
        )
    return _NO_BROKER


def _always(told: str) -> Callable[[Any, BrokerAddress], str]:
    return lambda _error, _broker: told


_FAULTS: Final[tuple[tuple[type[BaseException], Callable[[Any, BrokerAddress], str]], ...]] = (
    (ssl.SSLCertVerificationError, _untrusted),
    (ssl.SSLError, _tls_failed),
    (UnknownName, _unknown),
    (ConnectionRefusedError, _always("connection refused; is the broker running there?")),
    (amqp.ProbableAuthenticationError, _login_refused),
    (amqp.AuthenticationError, _no_login),
    (UnicodeDecodeError, _always(_NO_BROKER)),
    (
        ValueError,
        _always("the URL can't be used; it is written amqp://user:password@host:port/vhost"),
    ),
    (StopAsyncIteration, _always(HANDSHAKE_BROKEN)),
    (EOFError, _always(HANDSHAKE_BROKEN)),
    (amqp.ProtocolSyntaxError, _unexpected),
    (amqp.ConnectionClosed, _closed),
)
