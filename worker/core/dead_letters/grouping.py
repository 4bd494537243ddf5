"""Groups failures by their cause: by messages without what differs from one to the next."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

KEY_CHARS: Final = 12
_MOST_CHARS_READ: Final = 1_000
_MOST_CHARS: Final = 200
_REMEMBERED: Final = 1_024

# What stands for it, and what it looks like; where several fit, the first.
_VARYING: Final = (
    ("arn", r"\barn:[\w-]+:[^\s,;'\"()<>]+"),
    ("time", r"\b\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?"),
    ("time", r"\b\d{8}T\d{6}Z"),
    ("id", r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b"),
    # Apostrophes are no quotes.
    ("text", r"(?<!\w)'[^']*'(?!\w)"),
    ("text", r"(?<!\w)\"[^\"]*\"(?!\w)"),
    ("text", r"(?<!\w)`[^`]*`(?!\w)"),
    # Hexadecimal digits, and what is too long for a word and has a digit in it.
    ("id", r"\b(?:0[xX][0-9A-Fa-f]+|(?=[A-Fa-f]*\d)[0-9A-Fa-f]{8,})\b"),
    ("id", r"(?<![\w+/=-])(?=[A-Za-z_+/=-]*\d)[\w+/=-]{20,}"),
    # One digit at the end of a word belongs to it: UTF-8, us-east-1.
    ("n", r"(?:(?<![A-Za-z])(?<![A-Za-z]-)\d+|\d{2,})(?:[.,:]\d+)*"),
    (" ", r"\s+"),
)
_ANY: Final = re.compile("|".join(f"({pattern})" for _, pattern in _VARYING), re.ASCII)
_PLACEHOLDERS: Final = tuple(name if name == " " else f"<{name}>" for name, _ in _VARYING)


def normalised(message: str) -> str:
    """A message with placeholders for what varies: numbers, ids, times, ARNs, what is quoted.

    Returns:
        At most 200 characters; normalised again it stays as it is.
    """
    text = message[:_MOST_CHARS_READ]
    # What is put in or cut off may leave something that now looks as if it varied.
    while (plain := _ANY.sub(_placeholder, text)[:_MOST_CHARS].strip()) != text:
        text = plain
    return text


def _placeholder(match: re.Match[str]) -> str:
    return _PLACEHOLDERS[(match.lastindex or 1) - 1]


@lru_cache(maxsize=_REMEMBERED)
def key(reason: str, error_code: str, message: str) -> str:
    """The name of the group that a failure belongs to: 12 hexadecimal digits.

    Args:
        reason: Why the message was given up.
        error_code: Of the failure.
        message: Of the failure, as it is.
    """
    return _digest("\0".join((reason, error_code, normalised(message))))


def while_others_resolve(group: str) -> str:
    """The group beside this one for failures within five minutes after others have resolved.

    Which of the two it is the database decides, in the function `tell_letters`.
    """
    return _digest(f"{group} while others resolve")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:KEY_CHARS]
