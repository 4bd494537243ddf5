"""Addresses of other services: validation, and which hosts they lead to."""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qs, unquote, unquote_plus, urlsplit

from worker.settings.host_names import ENCODE, check_host_name, check_ipv6

MAX_PORT = 65_535
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# DSN parameters for which asyncpg accepts only these values.
_CHOICES = {
    "sslmode": SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": (
        "any",
        "primary",
        "standby",
        "prefer-standby",
        "read-write",
        "read-only",
    ),
}
_PASSWORDS = {"password", "sslpassword"}


def check_amqp(url: str) -> str:
    """Validates the address of an AMQP broker.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts = _split(url, {"amqp", "amqps"})
    _check_host(parts)
    _query(parts)
    return url


def check_postgres(dsn: str) -> str:
    """Validates the address of one or several PostgreSQL servers.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts = _split(dsn, {"postgresql", "postgres"})
    if parts.netloc.count("@") > 1:
        raise ValueError("has more than one @" + ENCODE)
    hosts = postgres_hosts(dsn)
    if not all(hosts):
        raise ValueError("has no host")
    for host in hosts:
        if not host.startswith("/"):
            check_host_name(host)
    for word, accepted in _CHOICES.items():
        if _query(parts).get(word, [accepted[0]])[-1] not in accepted:
            raise ValueError(f"has a value of {word} that is not one of {', '.join(accepted)}")
    return dsn


def check_http(url: str) -> str:
    """Validates the endpoint of a web service.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts = _split(url, {"http", "https"})
    _check_host(parts)
    if "@" in parts.netloc:
        raise ValueError("contains a user or password, which an endpoint must not have")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("has a path, query or fragment, which an endpoint must not have")
    return url


def check_management(url: str) -> str:
    """Validates the address of a broker's management interface.

    Raises:
        ValueError: It is not valid; the message does not repeat it.
    """
    parts = _split(url, {"http", "https"})
    _check_host(parts)
    if not parts.username or not parts.password:
        raise ValueError("has no user and password")
    if _query(parts).keys() - {"cafile"} or parts.fragment:
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


def is_local(host: str) -> bool:
    """Whether a host is on this machine: a Unix socket or a loopback address."""
    if host.startswith("/") or host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a valid URL; empty if it has none."""
    return unquote(urlsplit(url).hostname or "")


def amqp_verifies(url: str) -> bool:
    """Whether TLS is used and the broker's certificate is verified."""
    parts = urlsplit(url)
    # aiormq takes every value but "0" as yes, an empty one too.
    asked = parse_qs(parts.query, keep_blank_values=True).get("no_verify_ssl", [])
    unverified = any(value != "0" for value in asked)
    return parts.scheme == "amqps" and not unverified


def postgres_hosts(dsn: str) -> list[str]:
    """All hosts in a DSN, Unix sockets as their paths; an invalid host is returned as "".

    As in asyncpg, hosts of the address itself take precedence over those of `?host=`.

    Raises:
        ValueError: A port or the query can't be read.
    """
    parts = urlsplit(dsn)
    query = _query(parts)
    given = parts.netloc.rpartition("@")[2]
    listed = (given or query.get("host", [""])[-1]).split(",")
    ports = query["port"][-1].split(",") if "port" in query else []
    for port in ports:
        _check_port(port)
    if not given and len(ports) > 1 and len(ports) != len(listed):
        raise ValueError("does not name as many ports as hosts")
    return [_host_of_spec(unquote(spec)) for spec in listed]


def sslmode(dsn: str) -> str | None:
    """The `sslmode` of a DSN; None if it sets none."""
    return _query(urlsplit(dsn)).get("sslmode", [None])[-1]


def postgres_verifies(dsn: str) -> bool:
    """Whether the server's certificate is verified well enough to identify the server.

    `verify-ca` does not compare the host name, so any certificate of a public authority would
    pass: it counts only with an authority that the DSN names in `sslrootcert`.
    """
    root = _query(urlsplit(dsn)).get("sslrootcert", [""])[-1]
    mode = sslmode(dsn)
    return mode == "verify-full" or (mode == "verify-ca" and root not in {"", "system"})


def passwords(address: str) -> set[str]:
    """The passwords in an address, as written and percent-decoded; they must not be shown.

    The address is parsed by hand, the way each driver does it: URL libraries do not read addresses
    of several hosts, and this must also work for addresses that are not valid. Never raises.
    """
    rest = address.partition("://")[2].partition("#")[0]
    before, _, query = rest.partition("?")
    user, _, _ = before.partition("/")[0].rpartition("@")
    password = user.partition(":")[2]
    found = {password, unquote(password)}
    for member in query.split("&"):
        name, _, value = member.partition("=")
        if unquote_plus(name) in _PASSWORDS:
            found |= {value, unquote_plus(value)}
    return found - {""}


def _split(url: str, schemes: set[str]) -> SplitResult:
    accepted = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("contains white space or control characters" + ENCODE)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a URL" + ENCODE) from None
    if parts.scheme not in schemes or not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError(f"does not begin with {accepted}")
    return parts


def _check_host(parts: SplitResult) -> None:
    if not parts.hostname:
        raise ValueError("has no host" + ENCODE)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError("names several hosts; only one is accepted" + ENCODE)
    if port == 0:
        raise ValueError(f"has a port that is not a number from 1 to {MAX_PORT:,}" + ENCODE)
    if "[" in parts.netloc.rpartition("@")[2]:
        check_ipv6(unquote(parts.hostname))
    else:
        check_host_name(parts.hostname)


def _check_port(port: str) -> None:
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"has a port that is not a number from 1 to {MAX_PORT:,}" + ENCODE)


def _host_of_spec(spec: str) -> str:
    if spec.startswith("/"):
        return spec
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", spec)
    host, port = bracketed.group(1, 2) if bracketed else _host_and_port(spec)
    if bracketed:
        check_ipv6(host)
    if port:
        _check_port(port)
    return host


def _host_and_port(spec: str) -> tuple[str, str]:
    host, _, port = spec.partition(":")
    return host, port


def _query(parts: SplitResult) -> dict[str, list[str]]:
    if not parts.query:
        return {}
    try:
        return parse_qs(parts.query, strict_parsing=True)
    except ValueError:
        raise ValueError("has a query that can't be read" + ENCODE) from None
