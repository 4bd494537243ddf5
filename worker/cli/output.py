"""How a command ends when what it prints can't be written: a closed pipe, a full disk."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from worker.cli.exits import PARTLY_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

BROKEN_PIPE: Final = 141
"""What a shell says of a program that SIGPIPE has ended."""


@contextmanager
def output_guarded() -> Iterator[None]:
    """End quietly where nobody reads on, and in one line where standard output can't be written.

    An error counts only if standard output or standard error is really at fault: what they have
    not taken they still hold, and refuse again.
    """
    out, err = sys.stdout, sys.stderr  # typer replaces them where it meets a closed pipe
    try:
        yield
    except (Exception, SystemExit) as error:
        fault = _fault(out) or _fault(err)
        if fault is None and sys.stdout is not out and isinstance(error.__context__, OSError):
            fault = error.__context__  # a closed pipe that typer has met; it ends with 1
        if fault is None:
            raise
    else:
        fault = _fault(out)
    if fault is not None:
        _end(fault, out, err)


def _fault(stream: TextIO | None) -> OSError | None:
    try:
        if stream is not None:  # as it is where the shell has closed it
            stream.flush()
    except OSError as fault:
        return fault
    except ValueError:  # closed
        return None
    return None


def _end(fault: OSError, out: TextIO | None, err: TextIO | None) -> None:
    if fault.errno != errno.EPIPE and _fault(err) is None:
        print(f"can't write standard output: {fault.strerror}", file=err)
    # What is left in them would be tried once more at the end, with a traceback.
    for stream in (out, err):
        if stream is not None and _fault(stream) is not None:
            _swallow(stream)
    raise SystemExit(BROKEN_PIPE if fault.errno == errno.EPIPE else PARTLY_FAILED) from None


def _swallow(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
