"""A token is a secret: whether a text gives one away, in whatever spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_TELLING_CHARS: Final = 16  # a part of a secret so long is told apart from chance
_MAX_LAYERS: Final = 3
_MAX_MESSAGE_CHARS: Final = 1_000
_MAX_CODE_CHARS: Final = 128
_UNSPEAKABLE: Final = "UnknownError"

_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# JSON that is known to be sound: its strings, and its other scalars.
_LITERAL: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"{}\[\],:]+')


def contains(text: str, token: str) -> bool:
    """Whether a text gives the token away: as it is, percent-encoded or JSON-escaped."""
    if token in text:
        return True
    return ("%" in text or "\\" in text) and any(token in each for each in _spellings(text))


def _spellings(text: str) -> Iterator[str]:
    """A text as it is, and with one layer of escapes after another taken off."""
    yield text
    for _ in range(_MAX_LAYERS):
        if "%" not in text and "\\" not in text:
            return
        yield (text := unquote(text))
        yield (text := _unescaped(text))


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def texts(json: bytes) -> Iterator[str]:
    """All names, texts and numbers in a sound JSON value, those of a repeated name included."""
    for literal in _LITERAL.findall(json):
        yield msgspec.json.decode(literal, type=str) if literal[:1] == b'"' else literal.decode()


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What must not be echoed of a malformed message: its token or, unread, its whole body.

    Attributes:
        spellings: The token as it was written, and as it may have been meant.
        unread: The body in its spellings, where no token could be read in it.
    """

    spellings: frozenset[str]
    unread: tuple[str, ...] = ()

    @classmethod
    def of_token(cls, token: str) -> Secret:
        """The secret of a message whose token can be read, fit or not."""
        parts = {part for part in _BLANK.split(token) if len(part) >= _TELLING_CHARS}
        # A blank may be a plus sign that was decoded once too often.
        meant = {token, token.strip(), unquote(token), unquote(token).replace(" ", "+")}
        return cls(frozenset(parts | meant) - {""})

    @classmethod
    def of_body(cls, body: str) -> Secret:
        """The secret of a message that may hold its token anywhere."""
        known = body.replace("\x00", "").strip()
        return cls(frozenset({known}) - {""}, tuple(dict.fromkeys(_spellings(known))))

    def gives_away(self, value: str) -> bool:
        """Whether a value tells the secret or, of an unread body, a telling part."""
        if any(contains(value, spelling) for spelling in self.spellings):
            return True
        return any(
            part in body
            for spelling in _spellings(value)
            for part in _parts(spelling)
            for body in self.unread
        )

    def withhold(self, value: str | None) -> str | None:
        """The value, unless it gives the secret away."""
        return None if not value or self.gives_away(value) else value


def _parts(text: str) -> Iterator[str]:
    return (text[at : at + _TELLING_CHARS] for at in range(len(text) - _TELLING_CHARS + 1))


def without(message: str, token: str) -> str:
    """A message for the records, with the token taken out and its length bounded."""
    if contains(message.replace(token, ""), token):
        return "[left out: it contained the token]"
    return message.replace(token, "[token]")[:_MAX_MESSAGE_CHARS]


def harmless_code(code: str, token: str) -> str:
    """An error code for the records, unless it tells the token; its length bounded."""
    tells = len(token) >= _TELLING_CHARS and contains(code, token)
    return _UNSPEAKABLE if tells else code[:_MAX_CODE_CHARS]
