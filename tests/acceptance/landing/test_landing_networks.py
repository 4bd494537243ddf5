"""A flood from one network, and where a buyer is said to come from."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from harness.landing.application import landing_on
from landing.limits import BURST
from tests.acceptance.landing.plain_browser import address, plain_browser

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.programs import Worker
    from tests.acceptance.landing.plain_browser import PlainBrowser


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


async def test_a_flood_from_one_network(landing: LandingPage, buyer: PlainBrowser) -> None:
    """Who floods is soon refused, whatever it says of itself; buyers elsewhere notice nothing."""
    async with plain_browser(landing.url, "127.0.66.1") as flood:
        told = [
            {"X-Forwarded-For": f"10.0.{n}.1", "Forwarded": f"for=10.1.{n}.1"} for n in range(99)
        ]
        posts = [flood.arrive(token("a%2Bb"), headers) for headers in told]
        flooding = asyncio.gather(*posts)
        pages = [await buyer.set_up(token("ok")) for _ in range(5)]
        answers = await flooding
    assert [page.state for page in pages] == ["resolved"] * 5
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {303, 429}
    assert BURST <= statuses[303] < BURST + 10
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.state == "busy"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


async def test_a_neighbour_in_the_same_network(landing: LandingPage) -> None:
    """Addresses of one network (/24) share its turns."""
    network = address().rpartition(".")[0]
    async with (
        plain_browser(landing.url, f"{network}.1") as one,
        plain_browser(landing.url, f"{network}.2") as two,
    ):
        await asyncio.gather(*(one.arrive(token("a%2Bb")) for _ in range(BURST + 5)))
        assert (await two.arrive(token("a%2Bb"))).status == 429


async def test_a_trusted_proxy(shared_stage: Installation, shared_worker: Worker) -> None:
    """A proxy of one's own is believed, and what a client wrote before it is not."""
    proxy = address()
    page = landing_on(shared_stage, LANDING_TRUSTED_PROXIES=proxy)
    await page.ready()
    async with plain_browser(page.url, proxy) as browser:
        for place in range(BURST * 2):
            behind = {"X-Forwarded-For": f"10.0.0.1, 10.2.{place}.1"}
            assert (await browser.arrive(token("a%2Bb"), behind)).status == 303
        lies = [{"X-Forwarded-For": f"10.3.{place}.1, 10.4.0.1"} for place in range(BURST * 2)]
        answers = [await browser.arrive(token("a%2Bb"), lie) for lie in lies]
    assert 429 in {answer.status for answer in answers}
