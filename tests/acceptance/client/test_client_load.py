"""Many callers of one client, and one token from all sides."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from resolution_client import Resolved, Resolver

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker

CALLERS = 1000


async def test_a_thousand_callers(shared_stage: Installation, shared_worker: Worker) -> None:
    """A thousand tasks share one client: each gets its own answer, in little memory."""
    await shared_worker.ready()
    some = [f"ok-{uuid.uuid4().hex}" for _ in range(CALLERS)]
    async with Resolver(shared_stage.web) as resolver:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers = await asyncio.gather(*(resolver.resolve(each, wait=60) for each in some))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"callers={CALLERS} peak memory grew by {grown:.1f} MiB")  # noqa: T201 - the figure
    for each, answer in zip(some, answers, strict=True):
        assert isinstance(answer, Resolved)
        assert answer.token_sha256 == hashlib.sha256(each.encode()).hexdigest()
    assert len({answer.message_id for answer in answers}) == CALLERS


async def test_one_token_from_all_sides(stage: Installation) -> None:
    """A thousand submissions of one token through three workers: one agreement, three calls."""
    for _ in range(3):
        await stage.run()
    before = await stage.simulator.calls()
    token = f"slow-200-{uuid.uuid4().hex}"
    async with Resolver(stage.web) as one, Resolver(stage.web) as two:
        answers = await asyncio.gather(
            *((one, two)[n % 2].resolve(token, wait=60) for n in range(CALLERS))
        )
    assert all(isinstance(answer, Resolved) for answer in answers)
    assert len({answer.message_id for answer in answers}) == CALLERS
    assert len({answer.agreement_key for answer in answers if isinstance(answer, Resolved)}) == 1
    assert Counter(answer.repeated for answer in answers)[False] >= 1  # type: ignore[union-attr]
    assert await stage.simulator.calls() - before <= 3
    (row,) = await stage.schema.rows("SELECT count(*) FROM resolution.agreements")
    assert row[0] == 1
