"""Fifty buyers at once, and a flood from one network beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from harness.landing.visitor import visiting
from tests.acceptance.landing_browser.conftest import token

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from harness.landing.application import LandingPage
    from harness.landing.storefront import Storefront

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUYERS = 50
FLOOD_SECONDS = 0.01
BURST, A_SECOND = 20, 1
"""What the landing page takes from one network."""


async def flood(landing: LandingPage, seen: Counter[int]) -> None:
    """Post junk from one network until cancelled; what came back is counted by its status."""
    async with aiohttp.ClientSession() as session:
        while True:
            headers = {"X-Forwarded-For": f"203.0.113.{sum(seen.values()) % 250}"}
            form = {"x-amzn-marketplace-token": token("invalid")}
            async with session.post(
                f"{landing.url}/landing", data=form, headers=headers, allow_redirects=False
            ) as answer:
                seen[answer.status] += 1
                if answer.status == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.sleep(FLOOD_SECONDS)


@pytest.mark.long
async def test_fifty_buyers_beside_a_flood(
    browser: Browser, storefront: Storefront, landing: LandingPage
) -> None:
    """All of fifty buyers come to the sign-up, whatever one network posts; it gets its share."""
    seen: Counter[int] = Counter()
    began = asyncio.get_running_loop().time()
    flooding = asyncio.create_task(flood(landing, seen))
    async with AsyncExitStack() as stack:
        buyers = await asyncio.gather(
            *(stack.enter_async_context(visiting(browser, storefront)) for _ in range(BUYERS))
        )
        words = ("ok", "slow-3000")
        await asyncio.gather(
            *(buyer.post(token(words[place % 2])) for place, buyer in enumerate(buyers))
        )
        await asyncio.gather(*(buyer.shows("resolved") for buyer in buyers))
        accounts = {await buyer.text() for buyer in buyers}
    flooding.cancel()
    took = asyncio.get_running_loop().time() - began
    assert len(accounts) > BUYERS // 2  # each sees its own; four digits may coincide
    assert set(seen) == {303, 429}
    assert BURST <= seen[303] <= BURST + A_SECOND * took + 1
    assert seen[429] > seen[303]
