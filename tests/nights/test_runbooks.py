"""Each runbook is carried out as it stands, on servers on which its alert fires."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.nights import nights, tickets  # noqa: F401 - they add themselves to the list
from harness.nights.night import NIGHTS, Night, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.nights.hosts import Hosts

CASES = [
    pytest.param(night, marks=() if night.quick else pytest.mark.long, id=night.name)
    for night in NIGHTS
]


# aio-pika's own, of the buyers' connection to a broker that was stopped
@pytest.mark.filterwarnings("ignore:coroutine 'Connection.close' was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("night", CASES)
async def test_a_runbook_mends_what_its_alert_tells(
    night: Night, night_hosts: Hosts, tmp_path: Path
) -> None:
    """What breaks is told once and in time, and is mended by the commands of the page."""
    played = await play(night, night_hosts, tmp_path / "night")
    assert played.faults == []
