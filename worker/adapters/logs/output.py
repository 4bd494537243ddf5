"""Writes one line for each event, as JSON or for a terminal, to one stream."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

import orjson
import structlog

from worker.adapters.logs.repeats import Repeats
from worker.adapters.logs.secrets import Secrets
from worker.adapters.logs.values import clean, clean_own, plain, trace_of
from worker.core.credentials import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["auto", "json", "console"]
Event = dict[str, Any]

_BOUNDED = {"warning", "error", "critical"}
_LEVELS = {"exception": "error", "warn": "warning", "fatal": "critical"}
# All control characters except line ends and tabs: they could control a terminal.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in {9, 10}
}


class Output:
    """The stream and format of all lines; loggers keep this object when either changes.

    Attributes:
        secrets: The secrets that are hidden in every line.
    """

    def __init__(self) -> None:
        self.secrets = Secrets(credentials=KNOWN)
        self._repeats = Repeats()
        self._render: Callable[[Event], bytes] = _json
        self._stream: TextIO = sys.stderr

    def direct(self, stream: TextIO, format_: Format) -> None:
        """Sends lines to a stream from now on; `auto` is `console` on a terminal."""
        terminal = stream.isatty()
        console = format_ == "console" or (format_ == "auto" and terminal)
        self._render = _Console(colors=terminal) if console else _json
        self._stream = stream
        self._repeats.forget()

    def own(self, _logger: object, method: str, event: structlog.typing.EventDict) -> bytes:
        """Renders one of our own events; structlog's last processor.

        Raises:
            DropEvent: It says once too often what was said before.
        """
        level = _LEVELS.get(method, method)
        if self._is_one_too_many(level, event):
            raise structlog.DropEvent
        trace = trace_of(event.pop("exc_info", None))
        head = _head(level, event.pop("event", ""))
        line = {**head, **event, **head}
        clean_own(line, self.secrets)
        return self._rendered(line, trace)

    def foreign(self, level: str, event: Event, exc_info: object = None) -> None:
        """Writes a library's event, unless it says once too often what was said before."""
        if self._is_one_too_many(level, event, exc_info):
            return
        line = _head(level, event.pop("event")) | event
        clean(line, self.secrets)
        self.write(self._rendered(line, trace_of(exc_info)))

    def write(self, line: bytes) -> None:
        """Writes one line; errors of the stream are ignored, so that the worker goes on."""
        with suppress(OSError, ValueError, RuntimeError):
            buffer = getattr(self._stream, "buffer", None)
            if buffer is None:
                self._stream.write(line.decode() + "\n")
            else:
                buffer.write(line + b"\n")
            (buffer or self._stream).flush()

    debug = info = warning = warn = error = critical = fatal = exception = msg = write

    def _is_one_too_many(
        self, level: str, event: structlog.typing.EventDict, exc_info: object = None
    ) -> bool:
        if level not in _BOUNDED:
            return False
        told = {**event, "exc_info": exc_info} if exc_info else event
        left_out = self._repeats.left_out_before(told)
        if left_out:
            event["lines_left_out"] = left_out
        return left_out is None

    def _rendered(self, line: Event, trace: str | None) -> bytes:
        if trace is not None:
            line["exception"] = self.secrets.hide(trace)
        try:
            return self._render(line)
        except (TypeError, ValueError, RecursionError):
            return self._render(plain(line, self.secrets.hide))


class _Console:
    def __init__(self, *, colors: bool) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=colors,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, line: Event) -> bytes:
        safe = {name: _escaped(value) for name, value in line.items()}
        return self._renderer(None, str(safe["level"]), safe).encode("utf-8", "backslashreplace")


def _json(line: Event) -> bytes:
    return orjson.dumps(line)


def _head(level: str, event: object) -> Event:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return {"timestamp": f"{now[:-6]}Z", "level": level, "event": event}


def _escaped(value: object) -> object:
    return value.translate(_CONTROLS) if isinstance(value, str) else value
