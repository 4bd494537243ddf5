"""Text files as people's editors write them."""

from __future__ import annotations

from typing import Final

_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def without_mark(text: str) -> str:
    """The text without a byte order mark, which editors put before it, and which means nothing."""
    return text.removeprefix("\ufeff")


def decoded(content: bytes) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        ValueError: It is not UTF-8; the message repeats nothing of it.
    """
    if content.startswith(_UTF_16_MARKS) or _is_spaced(content):
        raise ValueError("it is UTF-16: save it as UTF-8")
    try:
        return without_mark(content.decode())
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _is_spaced(content: bytes) -> bool:
    """Whether every other byte is zero, as in UTF-16 of ASCII characters without a mark."""
    first, second = content[::2], content[1::2]
    return bool(second) and not (any(first) and any(second))
