"""`make nights`: plays all nights, one after the other, and prints their table.

Words given as arguments select the nights whose name or alert contains one of them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from harness.nights import nights as _nights  # noqa: F401 - they add themselves to the list
from harness.nights import tickets as _tickets  # noqa: F401
from harness.nights.hosts import hosts
from harness.nights.night import NIGHTS, Night, Played, play
from harness.nights.report import table


async def _play(chosen: list[Night]) -> list[Played]:
    played = []
    with tempfile.TemporaryDirectory(prefix="resolution-nights-") as folder:
        async with hosts() as both:
            for number, night in enumerate(chosen):
                print(f"{night.name} …", file=sys.stderr, flush=True)  # noqa: T201 - progress
                try:
                    played.append(await play(night, both, Path(folder) / str(number)))
                except Exception as error:  # noqa: BLE001 - the others are played all the same
                    played.append(Played(night, faults=[f"it broke off: {error!r}"]))
    return played


def main() -> int:
    """Play them.

    Returns:
        0 if each was as it should be, else 1.
    """
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [
        night
        for night in NIGHTS
        if not words or any(word in f"{night.name} {night.alert}".lower() for word in words)
    ]
    played = asyncio.run(_play(chosen))
    print(table(played))  # noqa: T201 - the report
    return int(any(each.faults for each in played))


if __name__ == "__main__":
    sys.exit(main())
