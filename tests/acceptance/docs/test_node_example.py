"""The examples in `docs/examples/node`, run as they stand against a worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aiohttp
import pytest

from harness.tcp_proxy import proxy_to
from harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

FOLDER = Path(__file__).parents[3] / "docs" / "examples" / "node"
WAIT_SECONDS = 10.0  # the example's own


class LandingPage:
    """The example's landing page, and a browser."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, token: str, **fields: str) -> tuple[int, str]:
        """Post a token as AWS Marketplace has a browser do; the status, and where it leads to."""
        form = urlencode({"x-amzn-marketplace-token": token} | fields)
        return await self.post_raw(form)

    async def post_raw(self, form: str) -> tuple[int, str]:
        """Post a form that is encoded already."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        async with self._session.post(
            self._url, data=form, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("location", "")


@asynccontextmanager
async def node(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the folder, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        "node",
        *arguments,
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def landing_page(broker: str) -> AsyncIterator[LandingPage]:
    """The landing page on a free port, with the caller's rights."""
    settings = {"RESOLUTION_AMQP__URL": broker, "NETWORK_KEY": "a key"}
    async with node("landing.js", "0", **settings) as process, aiohttp.ClientSession() as session:
        assert process.stdout
        yield LandingPage((await process.stdout.readline()).decode().strip(), session)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_buyer_is_let_in(shop: WebTier, shared_stage: Installation) -> None:
    """Each kind of token leads where it should, and a reload is told from the first visit."""
    token = "ok-node/+=&token"
    async with landing_page(shared_stage.web) as page:
        trial = {"x-amzn-marketplace-offer-type": "free-trial"}
        assert await page.post(token, **trial) == (303, "/signup")
        assert await page.post(token) == (303, "/login")
        assert (await page.post("invalid-node"))[0] == 410
        assert (await page.post("garbage-node"))[0] == 502
        assert (await page.post("encoded%2Btwice"))[0] == 400
        assert (await page.post_raw("x-amzn-marketplace-offer-type=free-trial"))[0] == 400
        assert (await page.post("ok-node-large", junk="x" * 200_000))[0] == 413
        assert (await page.post("ok-node-odd", **{next(iter(trial)): "x" * 9_000}))[0] == 303
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    told = [event.body for events in shop.events.values() for event in events]
    assert {event["offer_type"] for event in told if event["token_sha256"] == sha256} == {
        "free-trial"
    }


async def test_many_at_once_are_not_mixed_up(shared_stage: Installation, shop: WebTier) -> None:
    """Two hundred buyers at once on one connection: each is answered, and none twice alike."""
    tokens = [f"ok-crowd-{n}" if n % 2 else f"invalid-crowd-{n}" for n in range(200)]
    async with landing_page(shared_stage.web) as page:
        found = await asyncio.gather(*map(page.post, tokens))
    assert [status for status, _ in found] == [410, 303] * 100


async def test_an_answer_that_a_lost_connection_took_is_asked_for_again(
    shared_stage: Installation, shop: WebTier
) -> None:
    """A connection that breaks while a call is on its way costs the buyer a moment, no answer."""
    async with proxy_to(shared_stage.web) as broker, landing_page(broker.url) as page:
        assert (await page.post("ok-node-before"))[0] == 303
        calls = await shared_stage.simulator.calls()
        waiting = asyncio.create_task(page.post("slow-700-node-lost"))
        await eventually(
            lambda: _grown(shared_stage, calls), "the call for it is on its way", seconds=20
        )
        await broker.shut()
        await broker.reset()
        await broker.open()
        assert await waiting == (303, "/signup")


async def _grown(stage: Installation, calls: int) -> bool:
    return await stage.simulator.calls() > calls


async def test_nobody_waits_while_calls_do_not_run(stage: Installation) -> None:
    """A pause and the death of all workers are known within seconds; then buyers are let in."""
    worker: Worker = await stage.run()
    async with landing_page(stage.web) as page:
        assert (await page.post("ok-node-running"))[0] == 303
        paused = stage.command("pause", "--reason", "a test", "--actor", "somebody")
        assert paused.returncode == 0, paused.stderr
        await asyncio.wait_for(_waits(page, "ok-node-paused"), 8)
        assert stage.command("resume", "--reason", "a test", "--actor", "somebody").returncode == 0
        worker.kill()
        await asyncio.wait_for(_waits(page, "ok-node-dead"), 8)
        await stage.run()
        await eventually(lambda: _is_let_in(page, "ok-node-dead"), "the buyer is let in")


async def _waits(page: LandingPage, token: str) -> None:
    """Wait until a buyer is sent to the waiting page."""
    while not (found := await page.post(token))[1].startswith("/waiting/"):
        assert found[0] == 303


async def _is_let_in(page: LandingPage, token: str) -> bool:
    return (await page.post(token))[1] in {"/signup", "/login"}


@pytest.mark.long  # it waits as long as a buyer does
async def test_a_broker_that_takes_nothing_is_told_apart(stage: Installation) -> None:
    """While the broker is away the buyer is asked to try again, within the time allowed."""
    async with proxy_to(stage.web, shut=True) as broker, landing_page(broker.url) as page:
        began = asyncio.get_running_loop().time()
        assert (await page.post("ok-node-away"))[0] == 503
        assert asyncio.get_running_loop().time() - began < WAIT_SECONDS + 2


async def test_a_shop_that_only_publishes(shop: WebTier, shared_stage: Installation) -> None:
    """Without a reply queue a token is published, confirmed and resolved; sent twice it is one."""
    program = """
        import { Publisher } from "./publish.js";
        const publisher = new Publisher(process.env.URL);
        const id = await publisher.publish("ok-node-published");
        await publisher.publish("ok-node-published", id);
        console.log(id);
        process.exit();
    """
    url = shared_stage.broker.shipped("resolution_publisher")
    async with node("--input-type=module", "--eval", program, URL=url) as process:
        out, _ = await process.communicate()
    message_id = out.decode().strip()
    assert (await shop.event(message_id)).status == "resolved"
    assert (await shop.event(message_id, nth=2)).status == "resolved"


async def test_what_no_queue_takes_is_no_success(stage: Installation) -> None:
    """A message that the exchange returns is an error, though the broker confirms it."""
    management = stage.broker.management
    management.call("DELETE", "queues", stage.broker.vhost, "resolution.tokens")
    program = """
        import { Publisher } from "./publish.js";
        const publisher = new Publisher(process.env.URL);
        await publisher.publish("ok-node").catch((error) => console.log(error.message));
        process.exit();
    """
    url = stage.broker.shipped("resolution_publisher")
    async with node("--input-type=module", "--eval", program, URL=url) as process:
        out, _ = await process.communicate()
    assert "is the topology declared?" in out.decode()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_the_examples_are_short(path: Path) -> None:
    """Whoever ports an example reads it at one sitting; what they import is in the lock."""
    text = path.read_text()
    assert text.count("\n") <= 180
    imported = set(re.findall(r'^import .* from "(?!node:|\./)([^"]+)"', text, re.MULTILINE))
    assert imported <= set(json.loads((FOLDER / "package.json").read_text())["dependencies"])
