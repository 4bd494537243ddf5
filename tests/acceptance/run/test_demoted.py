"""A rush of buyers at the real command: fresh ones are answered at once, and none is forgotten."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from tests.acceptance.outcomes import fresh, instant

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

QUOTA = 20
RUSH_SECONDS = 20
PATIENCE = 3


async def rush(web: WebTier) -> dict[str, datetime]:
    """Buyers at twice the quota; when each of their messages was confirmed, by id, in order."""
    published = {}
    began = time.monotonic()
    for number in range(2 * QUOTA * RUSH_SECONDS):
        due = began + number / (2 * QUOTA)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        message_id = await web.submit(fresh("ok"))
        published[message_id] = datetime.now(UTC)
    return published


@pytest.mark.parametrize("simulator", [("--rate", "20", "--burst", "20")], indirect=True)
@pytest.mark.long
async def test_a_rush_of_buyers(stage: Installation, web: WebTier) -> None:
    """At twice the quota half of those served hardly wait; who is demoted is answered later."""
    worker = await stage.run(
        WORKER_TOKEN__PATIENCE=f"{PATIENCE}s",
        WORKER_RATE__CEILING=str(QUOTA),
        WORKER_RATE__INITIAL=str(QUOTA),
    )

    published = await rush(web)
    moved_at_end = await settled(worker, "live") - await outcomes(worker, "live")
    await eventually(lambda: published.keys() <= web.events.keys(), "all are settled", 60)

    waits = {}
    for message_id, at in published.items():
        (event,) = web.events[message_id]
        assert event.status == "resolved"
        assert instant(event.body["received_at"]) - at < timedelta(seconds=PATIENCE)  # age is kept
        waits[message_id] = (instant(event.body["settled_at"]) - at).total_seconds()
    late = list(waits.values())[-QUOTA * RUSH_SECONDS :]  # who came in the second half
    assert moved_at_end > 50
    assert sum(wait < PATIENCE / 2 for wait in late) > 0.25 * len(late)
    assert max(late) > PATIENCE
    assert await settled(worker, "backlog") == await outcomes(worker, "backlog") >= moved_at_end
    assert await outcomes(worker, "live") + await outcomes(worker, "backlog") == len(published)
    assert await worker.metric("resolution_wait_seconds_count", lane="live") == len(published)
    await told(worker)
    assert set((await web.depths()).values()) == {0}


async def settled(worker: Worker, lane: str) -> float:
    """Messages of a lane that were settled or moved."""
    return await worker.metric("resolution_submissions_total", lane=lane)


async def outcomes(worker: Worker, lane: str) -> float:
    """Messages of a lane that were answered."""
    samples = (await worker.metrics())["resolution_outcomes_total"]
    return sum(value for labels, value in samples.items() if ("lane", lane) in labels)


async def told(worker: Worker) -> None:
    """Its log says that tokens gave way, and how many, once that is over."""
    ended = await eventually(lambda: worker.logged("demotion_ended"), "the end is logged")
    assert len(worker.logged("demotion_began")) == len(ended)
    moved = await settled(worker, "live") - await outcomes(worker, "live")
    # What is confirmed after the end is not in its line.
    assert 0.9 * moved <= sum(line["submissions"] for line in ended) <= moved
