"""The passwords in addresses and in the environment of a process, so that they can be hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

from worker.core.addresses.words import SECRET_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLES: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_BEARER_TOKEN_MARKETPLACE_METERING",
    "PGPASSWORD",
)
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


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


def credentials_in(address: str) -> Iterator[str]:
    """What to hide of an address: its passwords, also those with unencoded characters.

    One that equals the user's name is no secret, and hiding it would hide that name.
    """
    user, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    found = {password, unquote(password)} | passwords(address)
    yield from found - {"", user, unquote(user)}


def credentials_around(environ: Mapping[str, str]) -> Iterator[str]:
    """What AWS's libraries, the database driver and proxies take from the environment."""
    yield from (environ[name] for name in _VARIABLES if name in environ)
    for name, address in environ.items():
        if name.lower() in _PROXIES:
            yield from credentials_in(address if "://" in address else f"http://{address}")
