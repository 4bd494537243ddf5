"""Buyers who wait: answers that come late, processes that die, and the hook of the shop."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness.installation import bare_environment
from harness.landing.application import LandingPage, landing_on
from harness.reprocessing import dead_letters
from harness.waiting import eventually
from tests.acceptance.landing.landing_programs import HookedPage, database
from tests.acceptance.landing.plain_browser import plain_browser

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.web_tier import WebTier
    from tests.acceptance.landing.plain_browser import PlainBrowser

WHY = ("--actor", "me", "--reason", "AWS is back")
MOST_SECONDS = 3.0


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


async def states(browser: PlainBrowser, path: str) -> list[str]:
    """What a stream says from its beginning to its end."""
    return [each["state"] async for each in browser.events(path)]


async def declared(stage: Installation) -> None:
    """Wait until answers are kept for the landing page."""

    def there() -> bool:
        queues = stage.broker.management.call("GET", "queues", stage.broker.vhost)
        return any(queue["name"].endswith(".settled.landing") for queue in queues)

    await eventually(there, "the queue is declared")


async def test_an_answer_after_the_wait(stage: Installation) -> None:
    """Who waits is told why, and goes on at any process when the answer comes."""
    pages = [landing_on(stage), landing_on(stage)]
    async with AsyncExitStack() as stack:
        for page in pages:
            await page.ready()
        await declared(stage)
        one, two = [await stack.enter_async_context(plain_browser(page.url)) for page in pages]
        answer = await one.arrive(token("ok"))
        two.cookies = one.cookies
        waiting = await two.get(answer.location)
        assert waiting.state == "waiting"
        assert 'http-equiv="refresh"' in waiting.text
        listening = [asyncio.create_task(states(each, answer.location)) for each in (one, two)]

        async def is_told() -> bool:
            return "Something is holding us up" in (await one.get(answer.location)).text

        await eventually(is_told, "the page says that nobody works")
        await stage.run()
        for told in await asyncio.gather(*listening):
            assert (told[0], told[-1]) == ("waiting", "resolved")
        assert (await two.press(await two.get(answer.location))).state == "welcome"


@pytest.mark.long
async def test_nobody_waits_at_a_process_that_is_gone(stage: Installation) -> None:
    """A process that is killed while a buyer waits, and one that is started anew, lose nobody."""
    first = landing_on(stage)
    await first.ready()
    await declared(stage)
    async with plain_browser(first.url) as browser:
        answer = await browser.arrive(token("ok"))
        cookies = browser.cookies
    first.kill()
    worker = await stage.run(WORKER_LOG__LEVEL="debug")
    await eventually(lambda: worker.logged("token_settled"), "the answer is there")
    later = landing_on(stage)
    await later.ready()
    async with plain_browser(later.url) as browser:
        browser.cookies = cookies

        async def is_open() -> bool:
            return (await browser.get(answer.location)).state == "resolved"

        await eventually(is_open, "the door is open")
        assert (await browser.press(browser.seen[-1])).state == "welcome"


@pytest.mark.long
async def test_a_replay_opens_the_door(stage: Installation) -> None:
    """Whom a replay saves at night finds the door open in the morning, at the same address."""
    await stage.run()
    page = landing_on(stage)
    await page.ready()
    await declared(stage)
    async with plain_browser(page.url) as browser:
        answer = await browser.arrive(token("fail-3"))

        async def state() -> str:
            return (await browser.get(answer.location)).state

        async def is_dead() -> bool:
            return await state() == "contact"

        async def is_saved() -> bool:
            return await state() == "resolved"

        await eventually(is_dead, "AWS could not say")
        replayed = await asyncio.to_thread(dead_letters, stage, "replay", "--all", *WHY)
        assert replayed.returncode == 0, replayed.stderr
        await eventually(is_saved, "the replay has saved it")


async def test_the_hook_is_called_once(stage: Installation) -> None:
    """Processes that share the work call it once an agreement, and take over a dead one's."""
    await stage.run()
    hanging = HookedPage(stage, hangs=True)
    await hanging.ready()
    await declared(stage)
    async with plain_browser(hanging.url) as browser:
        assert (await browser.set_up(token("ok"))).state == "resolved"
        await eventually(lambda: hanging.noted("begun"), "the hook has begun")
    hanging.kill()
    pages = [HookedPage(stage), HookedPage(stage)]
    async with AsyncExitStack() as stack:
        for page in pages:
            await page.ready()
        browsers = [await stack.enter_async_context(plain_browser(page.url)) for page in pages]
        shared = [token("ok") for _ in range(4)]  # both processes hear of these agreements
        buying = [each.set_up(one) for each in browsers for one in (*shared, token("ok"))]
        states_ = [page.state for page in await asyncio.gather(*buying)]
        assert sorted(states_) == ["resolved"] * 6 + ["returning"] * 4
        page = pages[0]
        await eventually(lambda: len(page.noted("done")) >= 7, "all are provisioned")
    done = page.noted("done")
    assert len(set(done)) == len(done) == 7
    begun = page.noted("begun")
    assert sorted(begun) == sorted([*done, begun[0]])


async def test_it_ends_at_once(stage: Installation, web: WebTier) -> None:
    """SIGTERM ends it within three seconds, with streams open and a buyer's form under way."""
    page = landing_on(stage)
    await page.ready()
    async with plain_browser(page.url) as browser:
        answer = await browser.arrive(token("ok"))
        began: list[str] = []

        async def listen() -> None:
            async for each in browser.events(answer.location):
                began.append(each["state"])  # noqa: PERF401 - looked at meanwhile

        streams = [asyncio.create_task(listen()) for _ in range(20)]
        await eventually(lambda: len(began) == len(streams), "all streams are open")
        under_way = asyncio.create_task(browser.arrive(token("ok")))

        async def is_published() -> bool:
            return await web.depth("resolution.tokens") == 2

        await eventually(is_published, "the form is under way")
        page.send(signal.SIGTERM)
        at = time.monotonic()
        assert await page.exit_code() == 0
        assert time.monotonic() - at < MOST_SECONDS
        await asyncio.gather(*streams)
        assert (await under_way).status == 303
    assert "Traceback" not in page.said


@pytest.mark.long
async def test_no_broker(tmp_path: Path) -> None:
    """Without a broker the buyer is asked to try again, and the page lives."""
    nowhere = "amqp://shop:hidden@127.0.0.1:1/"
    page = LandingPage(nowhere, tmp_path / "landing.sqlite", bare_environment(tmp_path))
    try:
        await page.ready()
        async with plain_browser(page.url) as browser:
            answer = await browser.arrive(canary := token("ok"))
            assert (answer.status, answer.state) == (503, "try-again")
            assert browser.cookies == {}
    finally:
        page.kill()
    assert canary not in page.said
    assert "hidden" not in page.said


async def test_a_token_is_kept_nowhere(stage: Installation) -> None:
    """A token is in no byte of the database, no line of the log and no answer."""
    await stage.run()
    page = landing_on(stage, LANDING_TRUSTED_PROXIES="")
    await page.ready()
    await declared(stage)
    words = ("ok", "invalid", "garbage", "a%2Bb", "same")
    canaries = [token(word) for word in words]
    async with plain_browser(page.url) as browser:
        for canary in (*canaries, *canaries):
            answer = await browser.arrive(canary)
            async for _ in browser.events(answer.location):
                pass
            await browser.get(answer.location)
        await browser.ask("POST", f"/landing?x-amzn-marketplace-token={canaries[0]}")
        await browser.get(f"/landing?x-amzn-marketplace-token={canaries[0]}")
        answers = "".join(answer.whole for answer in browser.seen)
    kept = b"".join(file.read_bytes() for file in database(stage))
    assert len(kept) > 10_000
    page.send(signal.SIGTERM)
    await page.exit_code()
    kept += b"".join(file.read_bytes() for file in database(stage))
    assert "POST /landing 303" in page.said
    for canary in canaries:
        secret = canary.rpartition("-")[2]
        assert secret not in page.said + answers
        assert secret.encode() not in kept
