"""Takes an address apart: scheme, user, password, hosts, path and the words of its query."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote

from worker.core.addresses.host_names import ENCODE, check_host_name, check_ipv6

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_PORT = 65_535
_UNWRITABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_QUOTATION_MARKS = frozenset("\"'\u201c\u201d\u2018\u2019`")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class Host(NamedTuple):
    """A host with its port.

    Attributes:
        name: A host name, an IP address, or the path of a Unix socket.
        port: Its port.
    """

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Parts(NamedTuple):
    """The parts of an address.

    Attributes:
        scheme: In lower case.
        user: Decoded; None if there is none.
        password: Decoded; None if there is none.
        hosts: What names hosts and ports, as it is written.
        path: As it is written, from the first `/`.
        words: Names and values of the query, decoded, in their order.
    """

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    words: tuple[tuple[str, str], ...]


def take_apart(address: str, schemes: Collection[str]) -> Parts:
    """The parts of an address that begins with one of the schemes.

    An unencoded `@`, `/`, `?` or `#` in a password moves the border between the parts, so that a
    piece of the password would be taken for a host or a word. So the only `@` must be the one in
    front of the hosts.

    Raises:
        ValueError: It can't be taken apart; the message repeats nothing of it.
    """
    scheme, separator, rest = address.partition("://")
    scheme = scheme.lower()
    if address[:1] in _QUOTATION_MARKS:
        raise ValueError("is in quotation marks; leave them out")
    if not separator or scheme not in schemes:
        accepted = " or ".join(f"{each}://" for each in sorted(schemes))
        raise ValueError(f"does not begin with {accepted}")
    if _UNWRITABLE.search(address):
        raise ValueError("contains white space or control characters" + ENCODE)
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if rest.count("@") > authority.count("@") or authority.count("@") > 1:
        raise ValueError(
            f"contains an @ that does not end user and password{ENCODE} "
            "(@ as %40, / as %2F, ? as %3F, # as %23)"
        )
    if "#" in rest:
        raise ValueError("contains a #" + ENCODE)
    before, _, query = rest.partition("?")
    login, _, hosts = authority.rpartition("@")
    user, colon, password = login.partition(":")
    return Parts(
        scheme,
        unquote(user) or None,
        unquote(password) if colon else None,
        hosts,
        before[len(authority) :],
        _words(query),
    )


def _words(query: str) -> tuple[tuple[str, str], ...]:
    if not query:
        return ()
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise ValueError("has a query that can't be read" + ENCODE) from None


def read_host(spec: str, default_port: int) -> Host:
    """A host as it is written: `name`, `name:port`, `[IPv6]:port`, or the path of a Unix socket.

    Args:
        spec: Percent-decoded.
        default_port: The port if it names none.

    Raises:
        ValueError: It can't be used; the message does not repeat it.
    """
    if spec.startswith("/"):
        return Host(spec, default_port)
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", spec)
    name, port = bracketed.group(1, 2) if bracketed else _name_and_port(spec)
    if not name:
        raise ValueError("has no host" + ENCODE)
    if bracketed:
        check_ipv6(name)
    else:
        check_host_name(name)
    return Host(name, read_port(port) if port else default_port)


def _name_and_port(spec: str) -> tuple[str, str]:
    name, _, port = spec.partition(":")
    return name, port


def read_port(port: str) -> int:
    """A port as it is written.

    Raises:
        ValueError: It is not one.
    """
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"has a port that is not a number from 1 to {MAX_PORT:,}" + ENCODE)
    return int(port)


def is_local(host: str) -> bool:
    """Whether a host is on this machine: a Unix socket or a loopback address."""
    if host.startswith("/") or host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
