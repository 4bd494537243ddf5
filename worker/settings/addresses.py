"""Addresses of other services: validation, and which passwords they hold."""

from urllib.parse import unquote, unquote_plus

from worker.core.addresses import amqp, postgres
from worker.core.addresses.host_names import ENCODE, check_host_name
from worker.core.addresses.text import MAX_PORT, Host, Parts, is_local, read_host, take_apart
from worker.core.addresses.words import SECRET_WORDS

__all__ = [
    "MAX_PORT",
    "check_amqp",
    "check_http",
    "check_listen_host",
    "check_management",
    "check_postgres",
    "host_of",
    "is_local",
    "passwords",
    "user_of",
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


def user_of(address: str) -> str | None:
    """The user before the hosts of a valid address; None if it names none there."""
    return take_apart(address, {address.partition("://")[0].lower()}).user


def passwords(address: str) -> set[str]:
    """The passwords in an address, as written and percent-decoded; they must not be shown.

    This also works for addresses that are not valid. Never raises.
    """
    rest = address.partition("://")[2].partition("#")[0]
    before, _, query = rest.partition("?")
    user, _, _ = before.partition("/")[0].rpartition("@")
    password = user.partition(":")[2]
    found = {password, unquote(password)}
    for member in query.split("&"):
        name, _, value = member.partition("=")
        if unquote_plus(name) in SECRET_WORDS:
            found |= {value, unquote_plus(value)}
    return found - {""}


def _web(url: str) -> tuple[Parts, Host]:
    parts = take_apart(url, _WEB_PORTS)
    if "," in parts.hosts:
        raise ValueError("names several hosts; only one is accepted" + ENCODE)
    host = read_host(unquote(parts.hosts), _WEB_PORTS[parts.scheme])
    if host.name.startswith("/"):
        raise ValueError("has no host" + ENCODE)
    return parts, host
