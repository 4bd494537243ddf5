"""Logs: one line per event, JSON or console, with all secrets hidden at the output.

The keys of a line are `timestamp` (UTC), `level`, `event`, then its context, and `exception` with
the traceback if there is one.
"""

import asyncio
import logging
import sys
from typing import Literal, TextIO

import structlog

from worker.adapters.logs import hooks, library
from worker.adapters.logs.output import Format, Output
from worker.adapters.logs.secrets import Secrets

__all__ = ["Format", "Level", "Secrets", "configure", "install_hooks", "secrets", "set_level"]

Level = Literal["debug", "info", "warning", "error"]


class _Logger(structlog.make_filtering_bound_logger(logging.INFO)):  # type: ignore[misc]  # built by a function
    """The class of all our loggers, so that a new level reaches those already bound."""


_output = Output()
# Always the same list: loggers keep a reference to it, so changes to it reach all of them.
_processors: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    _output.own,
]
secrets: Secrets = _output.secrets


def configure(
    level: Level = "info",
    format: Format = "auto",  # noqa: A002 - the setting's name
    stream: TextIO | None = None,
) -> None:
    """Sets up logging for the whole process; may be called again.

    Args:
        level: The lowest level that is written.
        format: `json`, `console`, or `auto`: console on a terminal.
        stream: The output stream; standard error by default.
    """
    _output.direct(sys.stderr if stream is None else stream, format)
    structlog.configure(
        processors=_processors,
        wrapper_class=_Logger,
        logger_factory=lambda *_: _output,
        cache_logger_on_first_use=True,
    )
    library.attach(_output)
    set_level(level)


def set_level(level: Level) -> None:
    """Changes the lowest level that is written, at once and for every logger."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for name, method in vars(structlog.make_filtering_bound_logger(number)).items():
        if callable(method):
            setattr(_Logger, name, method)
    library.set_level(number)


def install_hooks(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Logs uncaught exceptions: those of threads, finalizers and the event loop too."""
    hooks.install(_output, loop)
