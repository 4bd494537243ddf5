"""The broker's address, of one or several hosts."""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from resolution_client.errors import ResolverError

if TYPE_CHECKING:
    from resolution_client.hidden import Hidden

URL_VARIABLE: Final = "RESOLUTION_AMQP__URL"
CALLER_VARIABLE: Final = "RESOLUTION_CALLER"
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is, and as whom to sign in.

    Attributes:
        urls: One for each host, with the password in it; not shown.
        place: Hosts and ports, to be shown.
        user: None where a certificate says it.
    """

    urls: tuple[str, ...] = field(repr=False)
    place: str
    user: str | None

    def in_random_order(self) -> list[str]:
        """The URLs, so that many clients spread over the hosts."""
        return random.sample(self.urls, len(self.urls))


def read(url: Hidden[str]) -> Address:
    """Read `amqps://user:password@a:5671,b:5671/vhost`.

    Raises:
        ResolverError: It can't be used; the message shows nothing of it.
    """
    found = _read(url.value)
    if isinstance(found, str):
        raise ResolverError(f"the broker's URL can't be used: {found}")
    return found


def _read(url: str) -> Address | str:
    """The address, or what is wrong with it."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _PORTS:
            return _address(parts)
    except ValueError:
        return "it can't be taken apart: characters such as / # ? @ in a password are written %2F"
    return "it begins with neither amqp:// nor amqps://"


def _address(parts: SplitResult) -> Address:
    login, at, hosts = parts.netloc.rpartition("@")
    urls, places = [], []
    for host in hosts.split(","):
        one = urlsplit(f"{parts.scheme}://{host}")
        if not one.hostname:
            raise ValueError
        places.append(f"{host}" if one.port else f"{host}:{_PORTS[parts.scheme]}")
        urls.append(parts._replace(netloc=f"{login}{at}{host}").geturl())
    words = {name.lower(): values[-1] for name, values in parse_qs(parts.query).items()}
    by_certificate = words.get("auth", words.get("auth_mechanism", "")).lower() == "external"
    user = unquote(login.partition(":")[0]) or (None if by_certificate else "guest")
    return Address(tuple(urls), ",".join(places), user)


def caller_of(given: str | None, user: str | None) -> str:
    """The caller's name, a word of its routing keys and queues.

    Raises:
        ResolverError: There is none, or it has characters that mean something there.
    """
    caller = given or user
    if not caller:
        raise ResolverError("no caller: the URL names no user, so pass caller= as well")
    if not _WORD.fullmatch(caller):
        raise ResolverError(f"the caller {caller!r} may have only letters, digits, - and _")
    return caller


def url_from_env() -> str:
    """The URL that the environment names.

    Raises:
        ResolverError: There is none.
    """
    if not os.environ.get(URL_VARIABLE):
        raise ResolverError(f"{URL_VARIABLE} is not set: it is the broker's URL")
    return os.environ[URL_VARIABLE]


def caller_from_env() -> str | None:
    """The caller that the environment names, if it does."""
    return os.environ.get(CALLER_VARIABLE) or None
