"""What can be a registration token; one list for the worker and for all that read tokens."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TOKEN_CHARS: Final = 8_192

WHITE_SPACE: Final = re.compile(r"\s")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PERCENT_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
QUOTATION_MARKS: Final = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_USUAL: Final = re.compile(r"[!-$&-~]*")  # all that is printed in ASCII, but a percent sign
FIELD_NAME: Final = re.compile("(registration[ _-]?token|token)[\"']?[=:]", re.IGNORECASE)
COOKIE_PREFIX: Final = "x-amzn-marketplace-"
# Zero-width and directional characters, soft hyphens: no font shows them.
INVISIBLE: Final = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff]"
)


class UnfitToken(NamedTuple):
    """Why a text is no token: a code for programs, a reason for people."""

    code: str
    reason: str


def unfit(token: str) -> UnfitToken | None:
    """Why a text can't be a registration token, or None; the reason quotes nothing of it."""
    # No character of the usual ones breaks a rule about single characters.
    rules = _OF_ALL if _USUAL.fullmatch(token) else (*_OF_ALL, *_OF_CHARACTERS)
    return next((why for broken, why in rules if broken(token)), None)


def mispasted(token: str) -> UnfitToken | None:
    """As `unfit`, of what is pasted together with a token: quotation marks or a field's name."""
    return next((why for broken, why in _PASTED if broken(token)), None)


def _is_quoted(token: str) -> bool:
    return token[0] in QUOTATION_MARKS or token[-1] in QUOTATION_MARKS


def _has_field_name(token: str) -> bool:
    return COOKIE_PREFIX in token.lower() or FIELD_NAME.match(token) is not None


_PASTED: Final[tuple[tuple[Callable[[str], object], UnfitToken], ...]] = (
    (
        _is_quoted,
        UnfitToken(
            "TokenQuoted",
            "the registration_token has quotation marks around it: they are no part of it",
        ),
    ),
    (
        _has_field_name,
        UnfitToken(
            "TokenHasFieldName",
            "the registration_token has a form field's name in it: the token is the field's value",
        ),
    ),
)
_OF_ALL: Final[tuple[tuple[Callable[[str], object], UnfitToken], ...]] = (
    (operator.not_, UnfitToken("TokenEmpty", "the registration_token is empty")),
    (
        lambda token: len(token) > MAX_TOKEN_CHARS,
        UnfitToken(
            "TokenTooLong", f"the registration_token has more than {MAX_TOKEN_CHARS} characters"
        ),
    ),
    *_PASTED,
)
_OF_CHARACTERS: Final[tuple[tuple[Callable[[str], object], UnfitToken], ...]] = (
    (
        WHITE_SPACE.search,
        UnfitToken(
            "TokenHasWhiteSpace",
            "the registration_token has white space in it: the publisher must decode it exactly"
            " once",
        ),
    ),
    (
        CONTROL.search,
        UnfitToken(
            "TokenHasControlCharacter", "the registration_token has a control character in it"
        ),
    ),
    (
        INVISIBLE.search,
        UnfitToken(
            "TokenHasInvisibleCharacter",
            "the registration_token has an invisible character in it, such as a zero-width space",
        ),
    ),
    (
        PERCENT_ESCAPE.search,
        UnfitToken(
            "TokenPercentEncoded",
            "the registration_token has a %XX escape in it: the publisher must decode it exactly"
            " once",
        ),
    ),
)
