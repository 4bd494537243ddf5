"""Detects and removes tokens in texts, also percent-encoded or JSON-escaped ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_REVEALING_CHARS: Final = 16  # a shorter match with part of a secret may be chance
_MAX_LAYERS: Final = 3
# A body with escapes has several spellings, each of which must be produced and searched.
_MAX_ESCAPED_CHARS: Final = 8 * 1024
_MAX_READ_CHARS: Final = 64 * 1024
_MAX_MESSAGE_CHARS: Final = 1_000
_MAX_CODE_CHARS: Final = 128
_WITHHELD_CODE: Final = "UnknownError"

_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# The strings and other scalars of JSON that is known to be valid.
_LITERAL: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"{}\[\],:]+')


def contains(text: str, token: str) -> bool:
    """Whether a text contains the token: as it is, percent-encoded or JSON-escaped."""
    return any(token in each for each in _spellings(text))


def _spellings(text: str) -> Iterator[str]:
    """A text as it is, and with one layer of escapes after another decoded."""
    yield text
    for _ in range(_MAX_LAYERS):
        if not _has_escapes(text):
            return
        yield (unquoted := unquote(text))
        yield (plain := _unescaped(unquoted))
        if plain == text:
            return  # no escapes are left
        text = plain


def _has_escapes(text: str) -> bool:
    return "%" in text or "\\" in text


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def texts(json: bytes) -> Iterator[str]:
    """All names, texts and numbers in a valid JSON value, including repeated members."""
    for literal in _LITERAL.findall(json):
        yield msgspec.json.decode(literal, type=str) if literal[:1] == b'"' else literal.decode()


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """What must not be repeated of a malformed message: its token or, if unreadable, its body.

    A publisher chooses both the secret and the values compared with it, so the secret is prepared
    once: a comparison takes time proportional to the value's length, whatever the secret is.

    Attributes:
        whole: The token as written, and as it may have been meant; or the body.
        revealing: Pieces of `_REVEALING_CHARS` characters that reveal it too: the beginning of each
            long word of the token or, if no token could be read, every piece of the body.
    """

    whole: tuple[str, ...]
    revealing: frozenset[str] = frozenset()

    @classmethod
    def of_token(cls, token: str) -> Secret:
        """The secret of a message whose token can be read, valid or not."""
        if len(token) > _MAX_READ_CHARS:
            return cls.of_anything()
        # A space may be a plus sign that was decoded once too often.
        unquoted = unquote(token)
        meant = {token, token.strip(), unquoted, unquoted.replace(" ", "+")} - {""}
        words = set(_BLANK.split(token)) - meant
        revealing = (word[:_REVEALING_CHARS] for word in words if len(word) >= _REVEALING_CHARS)
        return cls(tuple(meant), frozenset(revealing))

    @classmethod
    def of_body(cls, body: str) -> Secret:
        """The secret of a message that may contain its token anywhere."""
        known = body.replace("\x00", "").strip()
        if len(known) > (_MAX_ESCAPED_CHARS if _has_escapes(known) else _MAX_READ_CHARS):
            return cls.of_anything()
        spellings = dict.fromkeys(_spellings(known))
        return cls(
            (known,) if known else (), frozenset(chain.from_iterable(map(_pieces, spellings)))
        )

    @classmethod
    def of_anything(cls) -> Secret:
        """The secret of a message too large to search: any value may reveal it."""
        return cls(("",))  # contained in every value

    def gives_away(self, value: str) -> bool:
        """Whether a value contains the secret or a revealing piece, in any spelling."""
        return any(
            any(whole in spelling for whole in self.whole)
            or not self.revealing.isdisjoint(_pieces(spelling))
            for spelling in _spellings(value)
        )

    def withhold(self, value: str | None) -> str | None:
        """The value; None if it is empty or reveals the secret."""
        return None if not value or self.gives_away(value) else value


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _REVEALING_CHARS] for at in range(len(text) - _REVEALING_CHARS + 1))


def without(message: str, token: str) -> str:
    """A message fit to be stored: without the token or long parts of it, and of bounded length."""
    if contains(message.replace(token, ""), token):
        return _LEFT_OUT
    # Cut before the search for parts, whose cost grows with the length.
    kept = message.replace(token, "[token]")[:_MAX_MESSAGE_CHARS]
    kept = _without_parts(kept, token)[:_MAX_MESSAGE_CHARS]
    return _LEFT_OUT if any(_reveals_part(each, token) for each in _spellings(kept)) else kept


_LEFT_OUT: Final = "[left out: it contained the token]"


def _reveals_part(text: str, token: str) -> bool:
    return any(piece in token for piece in _pieces(text))


def _without_parts(text: str, token: str) -> str:
    """A text in which each long run of characters that is in the token is replaced."""
    kept, place, end = [], 0, 0
    for at, piece in enumerate(_pieces(text)):
        if piece in token:
            if at > end:  # a run begins: keep what precedes it
                kept += [text[place:at], "[token]"]
            elif not end:
                kept.append("[token]")
            place = end = at + _REVEALING_CHARS
    return "".join([*kept, text[place:]])


def harmless_code(code: str, token: str) -> str:
    """An error code fit to be stored, of bounded length; replaced if it reveals the token."""
    code = code[:_MAX_CODE_CHARS]
    return _WITHHELD_CODE if any(_reveals_part(each, token) for each in _spellings(code)) else code
