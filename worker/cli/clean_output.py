"""Standard output and standard error of commands, without the credentials of this process."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from worker.core.credentials import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


class CleanStream:
    """A text stream that hides known credentials in whatever is written to it as text.

    What knows them is asked at each write: credentials become known while a command runs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without credentials; return the length of the text as given."""
        self._stream.write(KNOWN.hide(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)


@contextmanager
def clean_output() -> Iterator[None]:
    """Clean what is printed in the block."""
    out, err = sys.stdout, sys.stderr
    cleaned: Any = tuple(None if each is None else CleanStream(each) for each in (out, err))
    sys.stdout, sys.stderr = cleaned
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
