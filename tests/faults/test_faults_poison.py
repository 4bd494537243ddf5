"""A message that ends whatever process handles it."""

from __future__ import annotations

import asyncio
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import eventually
from tests.faults.arena import conclude
from tests.history import PARKED, Due
from tests.seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.ground import Ground

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]  # a hundred starts

MARK = "ends-the-process"
MOST_STARTS = 130

# What Python imports by itself at its start: the message then ends the real worker.
SITE = f"""
    import os
    from worker.core import messages

    parse = messages.parse

    def deadly(incoming, now, *rest):
        if {MARK!r}.encode() in incoming.body:
            os._exit(139)
        return parse(incoming, now, *rest)

    messages.parse = deadly
"""


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_a_message_that_kills(ground: Ground, tmp_path: Path, seed: int) -> None:
    """It alone is parked at the delivery limit and kept; its neighbours are settled."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(SITE))
    async with ground.arena(seed) as arena:
        crowd = arena.crowd
        (base,) = crowd.of("ok-{n}")
        poison = crowd.one(
            base.token or "", members={"x": MARK}, lane="live", reply_to=None, due=(Due(PARKED),)
        )
        neighbours = crowd.some(80)
        await arena.audience.publish_all([*neighbours[:20], poison, *neighbours[20:]])

        starts = 0
        while not await arena.stage.schema.rows(
            "SELECT FROM resolution.dead_letter WHERE reason = 'parked'"
        ):
            assert starts < MOST_STARTS, "it is not parked"
            if not arena.workers or arena.worker.process.poll() is not None:
                starts += 1
                arena.start(PYTHONPATH=str(tmp_path))
            await asyncio.sleep(0.05)
        began = time.monotonic()
        await eventually(lambda: arena.worker.logged("consuming"), "the last one consumes")
        recovered = time.monotonic() - began + await arena.recovery()

        print(f"{starts} starts")  # noqa: T201 - the report
        assert starts > 100
        await conclude(arena, "message that kills", seed, recovered)
