"""Landing pages that were started in other ways than `python -m landing`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.installation import bare_environment
from harness.landing.application import LandingPage

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation

_HOOKED = """
import asyncio, os
from landing import store
from landing.__main__ import Settings, serve

store.LEASE_SECONDS = 1.0

def note(word, agreement):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{word} {agreement.customer.agreement_key}\\n")

async def hook(agreement):
    note("begun", agreement)
    if os.environ.get("HANGS"):
        await asyncio.Event().wait()
    note("done", agreement)

serve(Settings.from_env(), hook)
"""


class HookedPage(LandingPage):
    """One whose hook notes what it is called for, and whose leases last a second.

    Args:
        stage: With which it ends.
        hangs: Whether its hook never returns.
    """

    command = (sys.executable, "-c", _HOOKED)

    def __init__(self, stage: Installation, *, hangs: bool = False) -> None:
        self._notes = stage.home / "notes.txt"
        own = {"NOTES": str(self._notes), **({"HANGS": "1"} if hangs else {})}
        environment = {**bare_environment(stage.home), **own}
        super().__init__(stage.web, stage.home / "landing.sqlite", environment)
        stage.started.append(self)

    def noted(self, word: str) -> list[str]:
        """The agreements for which any such page has begun, or is done."""
        lines = self._notes.read_text(encoding="utf-8").splitlines() if self._notes.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(word)]


def database(stage: Installation) -> list[Path]:
    """The files of the database that the pages of a stage share."""
    return list(stage.home.glob("landing.sqlite*"))
