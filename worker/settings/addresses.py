"""Addresses of other services: validation."""

from urllib.parse import unquote

from worker.core.addresses import amqp, postgres
from worker.core.addresses.host_names import ENCODE, check_host_name
from worker.core.addresses.text import MAX_PORT, Host, Parts, is_local, read_host, take_apart

__all__ = [
    "MAX_PORT",
    "check_amqp",
    "check_http",
    "check_listen_host",
    "check_management",
    "check_postgres",
    "host_of",
    "is_local",
]

_WEB_PORTS = {"http": 80, "https": 443}


def check_amqp(url: str) -> str:
    """Validates the address of an AMQP broker of one or several hosts.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    amqp.read(url)
    return url


def check_postgres(dsn: str) -> str:
    """Validates the address of one or several PostgreSQL servers.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    postgres.read(dsn)
    return dsn


def check_http(url: str) -> str:
    """Validates the endpoint of a web service.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts, _ = _web(url)
    if parts.user or parts.password is not None:
        raise ValueError("contains a user or password, which an endpoint must not have")
    if parts.path not in {"", "/"} or parts.words:
        raise ValueError("has a path, query or fragment, which an endpoint must not have")
    return url


def check_management(url: str) -> str:
    """Validates the address of a broker's management interface.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts, _ = _web(url)
    if not parts.user or not parts.password:
        raise ValueError("has no user and password")
    if dict(parts.words).keys() - {"cafile"}:
        raise ValueError("has a query other than ?cafile=/path/ca.pem" + ENCODE)
    return url


def check_listen_host(host: str) -> str:
    """Validates a host name or IP address to listen on.

    Raises:
        ValueError: It is neither.
    """
    try:
        check_host_name(host)
    except ValueError:
        raise ValueError("is neither an IP address nor a host name") from None
    return host


def host_of(url: str) -> str:
    """The host of a valid endpoint or management interface."""
    return _web(url)[1].name


def _web(url: str) -> tuple[Parts, Host]:
    parts = take_apart(url, _WEB_PORTS)
    if "," in parts.hosts:
        raise ValueError("names several hosts; only one is accepted" + ENCODE)
    host = read_host(unquote(parts.hosts), _WEB_PORTS[parts.scheme])
    if host.name.startswith("/"):
        raise ValueError("has no host" + ENCODE)
    return parts, host
