"""A clock of its own for single processes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LIBRARY: Final = "faketime/libfaketimeMT.so.1"


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is off, such as by `+5h` or `-20m`.

    Only the time of day is off: seconds are as long as ever.
    """
    found = next(Path("/usr/lib").glob(f"**/{_LIBRARY}"), None)
    assert found is not None, "libfaketime is not installed; run scripts/faketime.sh"
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # the former name
        "NO_FAKE_STAT": "1",
    }
