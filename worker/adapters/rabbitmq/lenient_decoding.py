"""Properties that can't be read, or are too many, count as absent, instead of ending something.

AMQP leaves a publisher free to send texts that are no UTF-8, times out of range and tables that
are broken. The codec raises for them while it reads a frame, and aiormq then gives up the whole
connection. The broker would deliver the message again, and again take every other unacked message
with it, until all of them had reached the delivery limit. One hostile message must not do that.

A publisher is as free to send a hundred kilobytes of headers, which take many times that once they
are read, with every message that is delivered. Ours and the broker's are some hundred bytes.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.rabbitmq.library import decode_table, decode_timestamp, replace_decoders
from worker.core.token.poison import DELIVERIES_HEADER, VAIN_DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_TABLE_BYTES: Final = 8 * 1024
UNREAD: Final = object()
"""Stands in a table for what was not read; no name that a publisher writes equals it."""

_TIMESTAMP_BYTES: Final = 8
_MOST_SHORT_BYTES: Final = 255
_LENGTH: Final = struct.Struct(">I")
_SUSPECT: Final = {DELIVERIES_HEADER: VAIN_DELIVERIES}


def short_text(value: bytes) -> tuple[int, str]:
    """A short string; what is no UTF-8 in it is replaced.

    A replacement is longer than what it stands for. A text that grows beyond what AMQP can carry
    counts as empty, since nothing that has to repeat it could ever be sent.
    """
    end = 1 + value[0]
    text = value[1:end].decode(errors="replace")
    return end, text if len(text.encode()) <= _MOST_SHORT_BYTES else ""


def timestamp(value: bytes) -> tuple[int, Any]:
    """A timestamp, or None if it is out of range."""
    try:
        return decode_timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


def table(value: bytes) -> tuple[int, Any]:
    """A table of headers; if it is too large, or can't be read, it counts as one of a suspect.

    The broker's own count of deliveries is lost with the rest, and nobody knows whether the message
    has ended processes: so it is handled alone once it is delivered again.
    """
    size = _LENGTH.unpack_from(value)[0]
    if size <= MOST_TABLE_BYTES:
        with suppress(ValueError, OverflowError, OSError, ArithmeticError, RecursionError):
            return decode_table(value)
    return _LENGTH.size + size, {**_SUSPECT, UNREAD: True}


_LENIENT: Final[dict[str, Callable[[bytes], tuple[int, Any]]]] = {
    "shortstr": short_text,
    "timestamp": timestamp,
    "table": table,
}


def install() -> None:
    """Let the codec read properties so, in this whole process; may be called again."""
    replace_decoders(_LENIENT)
