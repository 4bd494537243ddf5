"""Converts any value to one that can be logged: plain and of bounded size. Never raises."""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from worker.adapters.logs.secrets import SHORT, Secrets

Hide = Callable[[str], str]

_SCALARS = frozenset({int, float, bool, type(None)})
_WITH_STR = (datetime, date, Decimal, PurePath, UUID)
_MAX_DEPTH = 6
_MAX_ITEMS = 100
_MAX_INT = 1 << 63


def clean_own(event: dict[str, Any], secrets: Secrets) -> None:
    """Hides secrets in one of our own events, in place; cheap if its values are short."""
    for name, value in event.items():
        kind = type(value)
        if kind is str:
            event[name] = secrets.hide_in_long(value)
        elif kind not in _SCALARS:
            event[name] = plain(value, secrets.hide_in_long)


def clean(event: dict[str, Any], secrets: Secrets) -> None:
    """Hides secrets in every value of an event, in place."""
    for name, value in event.items():
        event[name] = plain(value, secrets.hide)


def plain(value: object, hide: Hide, depth: int = 0) -> Any:
    """The value as JSON types, with secrets hidden in each text."""
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return int(value) if -_MAX_INT <= value < _MAX_INT else f"{value:#x}"[:SHORT]
    if depth < _MAX_DEPTH and isinstance(value, Mapping | list | tuple | set | frozenset):
        return _plain_items(value, hide, depth + 1)
    return hide(text_of(value))


def text_of(value: object) -> str:
    """The value as text that can be encoded; the type's name if it can't be formatted."""
    try:
        return _text(value).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - foreign code behind str and repr may raise anything
        return f"<unprintable {type(value).__name__}>"


def trace_of(exc_info: object) -> str | None:
    """The traceback, without local variables; `None` if there is no exception."""
    found = _exception(exc_info)
    if found is None:
        return None
    try:
        lines = traceback.format_exception(found)
    except Exception:  # noqa: BLE001 - foreign exceptions may break anything
        lines = [f"<unprintable {type(found).__name__}>"]
    return text_of("".join(lines).rstrip())


def _plain_items(value: Iterable[object], hide: Hide, depth: int) -> Any:
    try:
        if isinstance(value, Mapping):
            items = islice(value.items(), _MAX_ITEMS)
            return {hide(text_of(key)): plain(item, hide, depth) for key, item in items}
        return [plain(item, hide, depth) for item in islice(value, _MAX_ITEMS)]
    except Exception:  # noqa: BLE001 - foreign containers may raise anything
        return f"<unprintable {type(value).__name__}>"


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return str(value) if isinstance(value, _WITH_STR) else repr(value)


def _exception(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None
