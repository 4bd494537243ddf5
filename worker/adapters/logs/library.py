"""Sends the log records of libraries to the same output as our own."""

import logging
from contextlib import suppress

from worker.adapters.logs.output import Output

# Below INFO these print messages, request parameters and the tokens in them.
_CLAMPED = ("botocore", "aiobotocore", "aiormq", "aio_pika", "asyncio", "aiohttp", "urllib3")
# One line for each scrape and probe.
_QUIET = ("aiohttp.access",)


class Bridge(logging.Handler):
    """Passes records to the output; never raises, whatever is wrong with a record."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, unless its library is limited to a higher level."""
        if record.levelno < logging.INFO and record.name.partition(".")[0] in _CLAMPED:
            return
        event = {"event": _message(record), "logger": record.name}
        # No traceback with warnings: aiormq would show one for each lost connection.
        trace = record.exc_info if record.levelno >= logging.ERROR else None
        self._output.foreign(record.levelname.lower(), event, trace)


def attach(output: Output) -> None:
    """Makes the output the only one for all libraries, and for Python's warnings."""
    root = logging.getLogger()
    root.handlers[:] = [Bridge(output)]
    logging.captureWarnings(capture=True)


def set_level(level: int) -> None:
    """Sets the level of libraries; limited ones never write below INFO."""
    logging.getLogger().setLevel(level)
    for name in _CLAMPED:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _message(record: logging.LogRecord) -> str:
    # Arguments that don't fit or can't be formatted are the library's mistake, not ours.
    with suppress(Exception):
        return record.getMessage()
    return (
        f"{record.msg!s} <arguments don't fit>" if isinstance(record.msg, str) else "<unprintable>"
    )
