"""What a buyer who waits sees of pauses, dead workers, and restarts of broker and web process."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from harness.landing.application import landing_on
from harness.servers import BrokerServer
from harness.waiting import eventually
from tests.acceptance.conftest import declare_topology, staged
from tests.acceptance.landing_browser.conftest import PATIENT, paused, token, visitor_on
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from playwright.async_api import Browser

    from harness.installation import Installation
    from harness.landing.visitor import Visitor
    from harness.programs import Simulator
    from harness.schema import Schema

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD_SECONDS = 10.0
"""A buyer who waits is told that nobody works: after three seconds, on a busy machine."""
STOP_SECONDS = 3.0


async def headline(buyer: Visitor, words: str) -> None:
    """Wait until the waiting page's headline has these words, without a reload."""
    shown = buyer.page.locator("[aria-live] #headline", has_text=words)
    await shown.wait_for(timeout=HELD_SECONDS * 1000)


async def test_calls_are_paused(buyer: Visitor, landing_stage: Installation) -> None:
    """A buyer is told that it takes a while, not the operator's reason; and then goes on."""
    reason = "AWS has throttled us since the migration"
    async with paused(landing_stage, reason):
        await buyer.post(token("ok"))
        await buyer.shows("waiting")
        await headline(buyer, "on hold")
        assert reason not in await buyer.page.content()
    await buyer.shows("resolved")


@pytest.mark.long
async def test_a_failure_is_told_live(buyer: Visitor, landing_stage: Installation) -> None:
    """Whose token fails while the page waits is shown the code without a reload."""
    async with paused(landing_stage):
        await buyer.post(token("garbage"))
        await buyer.shows("waiting")
    await buyer.shows("contact")
    assert await buyer.support_code()


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.long)]
)
async def test_the_web_process_is_restarted(
    browser: Browser, landing_stage: Installation, how: signal.Signals
) -> None:
    """A web process ends at once though pages wait, and they go on with the next one."""
    first = landing_on(landing_stage)
    async with visitor_on(first, browser) as buyer:
        async with paused(landing_stage):
            await buyer.post(token("ok"))
            await buyer.shows("waiting")
            began = time.monotonic()
            first.send(how)
            assert await first.exit_code() == (0 if how is signal.SIGTERM else -how)
            assert time.monotonic() - began < STOP_SECONDS
            await landing_on(landing_stage, first.port).ready()
        await buyer.shows("resolved")
    assert "Traceback" not in first.said


@pytest.mark.long
async def test_the_worker_is_killed(browser: Browser, stage: Installation) -> None:
    """A buyer whose worker dies is told that something holds it up, and goes on with the next."""
    worker = await stage.run(**PATIENT)
    async with visitor_on(landing_on(stage), browser) as buyer:
        await buyer.post(token("slow-8000"))
        await buyer.shows("waiting")
        worker.kill()
        await headline(buyer, "holding us up")
        await stage.run(**PATIENT)
        await buyer.shows("resolved")


@pytest.mark.long
async def test_the_broker_is_restarted(
    browser: Browser,
    simulator: Simulator,
    schema: Schema,
    keys: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Who waits goes on after a restart of the broker; who comes meanwhile may try again."""
    async with rabbitmq(tmp_path / "rabbitmq") as private:
        server = BrokerServer(private.amqp_url, private.management, private.log)
        with (
            server.broker() as broker,
            staged(broker, schema, simulator, keys, tmp_path) as stage,
        ):
            declare_topology(broker)
            await stage.run(**PATIENT)
            landing = landing_on(stage)
            async with (
                visitor_on(landing, browser) as buyer,
                visitor_on(landing, browser) as another,
            ):
                await buyer.post(token("slow-8000"))
                await buyer.shows("waiting")
                await private.sync()
                await private.server.stop()
                response = await another.post(token("ok"))
                await another.shows("try-again")
                assert response.status == 503
                await private.server.start()
                await buyer.shows("resolved")

                async def is_back() -> bool:
                    await another.page.reload()
                    return await another.page.locator('main[data-state="resolved"]').count() == 1

                await eventually(is_back, "a reload posts the form again, and it is taken")
            assert "landing-page/landing" not in landing.said  # a line of a traceback
