"""The HTTP proxy that the environment names for an address, found as botocore finds it.

Only the standard library is used, because `resolve-customer` has to start quickly.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from worker.core.exceptions import SetupFault

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SHAPE: Final = (
    "http://host:port, or http://user:password@host:port with special characters of user and "
    "password percent-encoded"
)


class BadProxy(SetupFault):
    """A proxy that can't be used. The message names the variable, and quotes nothing of it."""


class Proxy(NamedTuple):
    """An HTTP proxy.

    Attributes:
        url: Without user and password.
        login: User and password, if there are any.
        named_by: The variable that names it.
    """

    url: str
    host: str
    port: int
    login: tuple[str, str] | None
    named_by: str

    def __repr__(self) -> str:
        return f"<proxy {self.host}:{self.port}>"


def proxy_of(url: str) -> Proxy | None:
    """The proxy for an address; None if it is asked directly.

    Raises:
        BadProxy: The variable's value is no address of an HTTP proxy.
    """
    target = urlsplit(url)
    named = getproxies().get(target.scheme, "").strip()
    if not named or proxy_bypass(target.netloc):
        return None
    variable = f"{target.scheme}_proxy"
    if not os.environ.get(variable):
        variable = variable.upper()
    return _read(named, variable)


def _read(text: str, variable: str) -> Proxy:
    scheme, separator, rest = text.partition("://")
    if not separator:  # `host:port` and `//host:port` are HTTP proxies for botocore too
        scheme, rest = "http", text.removeprefix("//")
    if scheme.lower() not in _DEFAULT_PORTS:
        raise BadProxy(
            f"{variable} names a proxy of another kind than HTTP, such as SOCKS (accepted: "
            f"{_SHAPE}; without any, unset it)"
        )
    try:
        return _parsed(f"{scheme.lower()}://{rest}", variable)
    except ValueError:
        # Not chained: the error may quote what it could not read.
        raise BadProxy(
            f"{variable} can't be read as a proxy's address (accepted: {_SHAPE})"
        ) from None


def _parsed(url: str, variable: str) -> Proxy:
    parts = urlsplit(url)
    # A raw `@`, `/`, `?` or `#` in a password would make a part of it the host.
    beyond = parts.path.removeprefix("/") or parts.query or parts.fragment
    host = parts.hostname
    if not host or beyond or parts.netloc.count("@") > 1:
        raise ValueError
    host.encode("idna")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    place = f"[{host}]" if ":" in host else host
    login = _login(parts.username, parts.password)
    return Proxy(f"{parts.scheme}://{place}:{port}", host, port, login, variable)


def _login(user: str | None, password: str | None) -> tuple[str, str] | None:
    if user is None:
        return None
    login = unquote(user, errors="strict"), unquote(password or "", errors="strict")
    for part in login:
        part.encode("latin-1")  # what HTTP's basic authentication can carry
    if ":" in login[0]:
        raise ValueError
    return login
