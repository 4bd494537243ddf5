"""Times as they stand in messages: RFC 3339, or milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Later times are not read from a header."""
_LATEST_MILLIS: Final = int((LATEST - _EPOCH).total_seconds() * 1000)

EARLIEST: Final = _EPOCH + timedelta(days=1)
"""A time before it is an empty field that somebody has filled with zero."""


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time with its offset, in UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.upper())  # RFC 3339 allows a small t and z
        return None if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_time(time: datetime) -> str:
    """A time as RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_millis(time: datetime) -> int:
    """Milliseconds since the epoch."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime | None:
    """The time at so many milliseconds since the epoch; None before it or after `LATEST`."""
    return _EPOCH + timedelta(milliseconds=millis) if 0 < millis < _LATEST_MILLIS else None
