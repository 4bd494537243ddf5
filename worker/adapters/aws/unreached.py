"""What an error says of a connection that did not come about.

The texts of aiohttp's errors are not used: they may quote a proxy's password.
"""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError
from yarl import URL

from worker.adapters import proxies
from worker.core import aws_causes, aws_errors, aws_reach
from worker.core.aws_causes import reach
from worker.core.aws_reach import Hop, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.records import Fault

_MOST_CAUSES: Final = 8
_VARIABLES: Final = (
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
)
# OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_…).
_VERIFY_CODES: Final = {
    9: reach.CERTIFICATE_OUT_OF_DATE,
    10: reach.CERTIFICATE_OUT_OF_DATE,
    62: reach.CERTIFICATE_OF_ANOTHER,
    64: reach.CERTIFICATE_OF_ANOTHER,
}


class _Found(NamedTuple):
    """What an error says.

    Attributes:
        host: Where it happened, if the error knows: the endpoint or its proxy.
    """

    code: str
    detail: str
    host: str | None = None


def route_to(url: str, named_by: str) -> Route:
    """How an endpoint is reached.

    Raises:
        BadProxy: The environment names a proxy that can't be used.
    """
    where = URL(url)
    proxy = proxies.proxy_of(url)
    target = Hop(where.host or "", where.port or 443, named_by)
    return Route(target, proxy and Hop(proxy.host, proxy.port, proxy.named_by))


def of_connection(error: Exception, route: Route, *, sent: bool) -> Fault | None:
    """The fault if nothing of the request can have reached the endpoint; None if it may have.

    Args:
        error: What aiohttp raised.
        route: How the endpoint is reached.
        sent: Whether there was a connection.
    """
    if not sent:
        return _told(_read(error) or _Found(reach.NOT_CONNECTED, type(error).__name__), route)
    if route.proxy and isinstance(error, aiohttp.ClientResponseError):
        # On a plain connection it is the proxy that answers, and this answer is no HTTP.
        return _told(_Found(reach.NO_HTTP_PROXY, "its answer is not HTTP"), route)
    return None


def no_connection_in_time(route: Route, *, connecting: bool) -> Fault:
    """The fault of a call for which there was no connection in time.

    Args:
        route: How the endpoint is reached.
        connecting: Whether the name was resolved.
    """
    if not connecting:
        return aws_reach.unreached(
            reach.NAME_NOT_RESOLVED,
            route,
            "DNS gave no answer in time",
            at_proxy=route.proxy is not None,
        )
    detail = "it did not answer in time, or not with TLS: a firewall, or no route?"
    return aws_reach.unreached(reach.NOT_CONNECTED, route, detail)


def of_credentials(error: Exception, region: str) -> Fault | None:
    """The fault if what gives out the credentials (STS, say) was not reached."""
    for one in _chain(error):
        if isinstance(one, ReadTimeoutError):
            return aws_errors.systemic(
                aws_causes.CREDENTIALS_TIMEOUT.codes[0],
                f"{_origin(_given(one, 'endpoint_url'))} does not answer",
            )
        if isinstance(one, ConnectTimeoutError):
            found: _Found | None = _Found(reach.NOT_CONNECTED, "it does not answer")
        else:
            found = _read(_given(one, "error")) if isinstance(one, BotoCoreError) else None
        if found is not None:
            url = _given(one, "endpoint_url") or f"https://sts.{region}.amazonaws.com"
            try:
                return _told(found, route_to(str(url), _named_by(str(url))))
            except proxies.BadProxy as refusal:
                return aws_errors.systemic(type(refusal).__name__, str(refusal))
    return None


def _given(error: Any, name: str) -> Any:
    """What a botocore error was made of."""
    return getattr(error, "kwargs", {}).get(name)


def _origin(url: Any) -> str:
    return str(URL(str(url)).origin()) if url else "the source of the credentials"


def _named_by(url: str) -> str:
    """What names the address of something that gives out credentials."""
    for variable in _VARIABLES:
        value = os.environ.get(variable, "")
        if value and url.startswith(value.rstrip("/")):
            return variable
    host = URL(url).host or ""
    return "WORKER_AWS__REGION" if host.startswith("sts.") else "the AWS configuration"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes."""
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _told(found: _Found, route: Route) -> Fault:
    if route.proxy is None and found.code in {reach.PROXY_REFUSES, reach.NO_HTTP_PROXY}:
        found = found._replace(code=reach.NOT_CONNECTED)
    at_proxy = route.proxy is not None and found.host == route.proxy.host
    return aws_reach.unreached(found.code, route, found.detail, at_proxy=at_proxy)


def _read(error: object) -> _Found | None:  # noqa: PLR0911 - a table
    """What an error of aiohttp's connector says."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _Found(reach.NAME_NOT_RESOLVED, _words(error.os_error), error.host)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        code = _VERIFY_CODES.get(getattr(cause, "verify_code", 0), reach.CERTIFICATE_NOT_TRUSTED)
        return _Found(code, getattr(cause, "verify_message", "it is not trusted"), error.host)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _Found(reach.TLS_FAILED, _words(error.os_error), error.host)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _Found(reach.NOT_CONNECTED, _words(error.os_error), error.host)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        wants_login = error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        code = reach.PROXY_LOGIN if wants_login else reach.PROXY_REFUSES
        return _Found(code, f"HTTP status {error.status}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return _Found(reach.NO_HTTP_PROXY, "it closed the connection")
    if isinstance(error, aiohttp.ClientResponseError):
        return _Found(reach.NO_HTTP_PROXY, "its answer is not HTTP")
    if isinstance(error, OSError):
        return _Found(reach.PROXY_REFUSES, _words(error))
    return None


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "no TLS").lower().replace("_", " ")
    if error.errno:
        return os.strerror(error.errno).lower() if error.errno > 0 else str(error.strerror)
    return str(error) or type(error).__name__
