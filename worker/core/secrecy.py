"""A token is a secret: whether a text gives one away, in whatever spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_TELLING_CHARS: Final = 16  # a part of a secret so long is told apart from chance
_MAX_LAYERS: Final = 3
# A body that holds escapes has several spellings to search, and each has to be made.
_MAX_ESCAPED_CHARS: Final = 8 * 1024
_MAX_READ_CHARS: Final = 64 * 1024
_MAX_MESSAGE_CHARS: Final = 1_000
_MAX_CODE_CHARS: Final = 128
_UNSPEAKABLE: Final = "UnknownError"

_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# JSON that is known to be sound: its strings, and its other scalars.
_LITERAL: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"{}\[\],:]+')


def contains(text: str, token: str) -> bool:
    """Whether a text gives the token away: as it is, percent-encoded or JSON-escaped."""
    return any(token in each for each in _spellings(text))


def _spellings(text: str) -> Iterator[str]:
    """A text as it is, and with one layer of escapes after another taken off."""
    yield text
    for _ in range(_MAX_LAYERS):
        if not _has_escapes(text):
            return
        yield (unquoted := unquote(text))
        yield (plain := _unescaped(unquoted))
        if plain == text:
            return  # what is left are no escapes
        text = plain


def _has_escapes(text: str) -> bool:
    return "%" in text or "\\" in text


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

    A publisher chooses both the secret and what is compared with it, so both are prepared once: to
    ask costs as much as the value is long, whatever the secret is.

    Attributes:
        whole: The token as it was written, and as it may have been meant; or the body.
        telling: Pieces of `_TELLING_CHARS` that tell it too: how each long word of the token
            begins or, where no token could be read, everything in the body.
    """

    whole: tuple[str, ...]
    telling: frozenset[str] = frozenset()

    @classmethod
    def of_token(cls, token: str) -> Secret:
        """The secret of a message whose token can be read, fit or not."""
        if len(token) > _MAX_READ_CHARS:
            return cls.of_anything()
        # A blank may be a plus sign that was decoded once too often.
        unquoted = unquote(token)
        meant = {token, token.strip(), unquoted, unquoted.replace(" ", "+")} - {""}
        words = set(_BLANK.split(token)) - meant
        telling = (word[:_TELLING_CHARS] for word in words if len(word) >= _TELLING_CHARS)
        return cls(tuple(meant), frozenset(telling))

    @classmethod
    def of_body(cls, body: str) -> Secret:
        """The secret of a message that may hold its token anywhere."""
        known = body.replace("\x00", "").strip()
        if len(known) > (_MAX_ESCAPED_CHARS if _has_escapes(known) else _MAX_READ_CHARS):
            return cls.of_anything()
        spellings = dict.fromkeys(_spellings(known))
        return cls(
            (known,) if known else (), frozenset(chain.from_iterable(map(_pieces, spellings)))
        )

    @classmethod
    def of_anything(cls) -> Secret:
        """The secret of a message that is too much to search: whatever it echoes may tell it."""
        return cls(("",))  # is in every value

    def gives_away(self, value: str) -> bool:
        """Whether a value tells the secret or a telling piece, in whatever spelling."""
        return any(
            any(whole in spelling for whole in self.whole)
            or not self.telling.isdisjoint(_pieces(spelling))
            for spelling in _spellings(value)
        )

    def withhold(self, value: str | None) -> str | None:
        """The value, unless it gives the secret away."""
        return None if not value or self.gives_away(value) else value


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _TELLING_CHARS] for at in range(len(text) - _TELLING_CHARS + 1))


def without(message: str, token: str) -> str:
    """A message for the records, without the token and telling parts of it; its length bounded."""
    if contains(message.replace(token, ""), token):
        return _LEFT_OUT
    # Cut before parts are looked for, which costs something for each character.
    kept = message.replace(token, "[token]")[:_MAX_MESSAGE_CHARS]
    kept = _without_parts(kept, token)[:_MAX_MESSAGE_CHARS]
    return _LEFT_OUT if any(_tells_part(each, token) for each in _spellings(kept)) else kept


_LEFT_OUT: Final = "[left out: it contained the token]"


def _tells_part(text: str, token: str) -> bool:
    return any(piece in token for piece in _pieces(text))


def _without_parts(text: str, token: str) -> str:
    """A text in which each run of characters that is in the token, and long, is taken out."""
    kept, place, end = [], 0, 0
    for at, piece in enumerate(_pieces(text)):
        if piece in token:
            if at > end:  # a run begins: what was before it stays
                kept += [text[place:at], "[token]"]
            elif not end:
                kept.append("[token]")
            place = end = at + _TELLING_CHARS
    return "".join([*kept, text[place:]])


def harmless_code(code: str, token: str) -> str:
    """An error code for the records, unless it tells the token or a part; its length bounded."""
    code = code[:_MAX_CODE_CHARS]
    return _UNSPEAKABLE if any(_tells_part(each, token) for each in _spellings(code)) else code
