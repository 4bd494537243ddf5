"""A request, and its canonical form: the same text however it was written on the wire."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Request(NamedTuple):
    """An HTTP request as received.

    Attributes:
        method: The method, upper case.
        target: Path and query as sent, still escaped.
        headers: Values by lower-case name, as `fold` makes them.
        body: The body's bytes.
    """

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    body: bytes


def fold(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name; those of one name joined by commas, as signing wants them."""
    folded: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        folded[key] = folded[key] + b"," + value if key in folded else value
    return folded


def canonical_form(request: Request, signed: list[bytes]) -> bytes:
    """The request as text to be signed, with the `signed` headers, in that order."""
    path, _, query = request.target.partition("?")
    headers = request.headers
    return b"\n".join(
        [
            request.method.encode(),
            path.encode("utf-8", "surrogateescape"),
            _query(query) if query else b"",
            *[name + b":" + b" ".join(headers.get(name, b"").split()) for name in signed],
            b"",
            b";".join(signed),
            hashlib.sha256(request.body).hexdigest().encode(),
        ]
    )


def _query(query: str) -> bytes:
    pairs = (part.partition("=") for part in query.split("&"))
    escaped = sorted((_escaped(name), _escaped(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in escaped).encode()


def _escaped(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")
