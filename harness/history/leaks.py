"""Secrets: no token stands anywhere, in clear or in a spelling that anybody can undo."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from harness.history.records import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.history.records import History, Submission

_SHORTEST = 6  # a shorter text would be found by chance


def leaks(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Where a token, or a part that is in every token, can be read."""
    tokens = {one.token for one in sent.values() if one.token}
    secrets = {secret for secret in found.canaries or tokens if len(secret) >= _SHORTEST}
    if not secrets:
        return
    spellings = sorted({spelling for secret in secrets for spelling in spelt(secret)})
    pattern = re.compile("|".join(map(re.escape, spellings)))
    for place, text in _places(found):
        if hit := pattern.search(text):
            yield Finding(Kind.LEAKED, f"a token in {place}, at {hit.start()} of {len(text)}")


def spelt(secret: str) -> set[str]:
    """A text as it is, as hexadecimal digits, and as Base64 wherever it begins in it."""
    data = secret.encode("utf-8", "surrogatepass")
    return {secret, data.hex(), data.hex().upper(), *(_core(data, shift) for shift in range(3))}


def _core(data: bytes, shift: int) -> str:
    """The Base64 digits that depend on the text alone, if so many bytes stand before it."""
    encoded = base64.b64encode(bytes(shift) + data).decode().rstrip("=")
    whole = (shift + len(data)) * 8 // 6
    return encoded[-(-shift * 8 // 6) : whole]


def _places(found: History) -> Iterator[tuple[str, str]]:
    yield from found.texts.items()
    for received in found.received:
        words = f"{received.routing_key} {received.correlation_id} {received.body}"
        yield f"the {received.channel} of {received.body.get('message_id')}", words
    tables = {
        "outcomes": found.outcomes,
        "agreements": found.agreements,
        "malformed": found.malformed,
        "dead letters": found.letters,
    }
    for name, rows in tables.items():
        yield f"the {name}", "\n".join(map(repr, rows))
