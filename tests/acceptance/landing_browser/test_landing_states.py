"""Every page that a buyer may see: none has a fault that axe finds, in light and in dark.

`make screenshots` has this test take the pictures of `docs/landing-page.md` too.
"""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.landing.application import landing_on
from harness.landing.visitor import visiting
from tests.acceptance.landing_browser.conftest import paused, token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser

    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.landing.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURES = os.environ.get("LANDING_PICTURES", "")
DEVICES = {"desktop": (1280, 800), "phone": (390, 844)}
NARROW = 320
BURST = 20
"""So many forms the landing page takes from one network at once."""


async def simple(buyer: Visitor, landing: LandingPage) -> AsyncGenerator[str]:
    """Bring a browser to the pages that follow from what it posts or asks for; their names."""
    await buyer.page.goto(buyer.storefront.url)
    yield "storefront"
    for path, state in {"landing": "begin", "login": "login", "setup/1": "nothing"}.items():
        await buyer.page.goto(f"{landing.url}/{path}")
        await buyer.shows(state)
        yield state
    for word, state in {"hang": "waiting", "invalid": "restart", "garbage": "contact"}.items():
        await buyer.post(token(word))
        await buyer.shows(state)
        yield state
    await buyer.post("ok-" + 17_000 * "x")
    await buyer.shows("too-large")
    yield "too-large"


async def shopping(buyer: Visitor, browser: Browser, stage: Installation) -> AsyncGenerator[str]:
    """Bring a browser to the pages of somebody who buys; their names."""
    async with paused(stage):
        await buyer.post(token("ok"))
        await buyer.page.locator("#headline", has_text="on hold").wait_for()
        yield "waiting-paused"
    await buyer.post(good := token("ok"))
    await buyer.shows("resolved")
    yield "resolved"
    await buyer.page.locator("main form button").click()
    await buyer.shows("welcome")
    yield "welcome"
    await buyer.post(token("ok"))
    await buyer.shows("other-customer")
    yield "other-customer"
    async with visiting(browser, buyer.storefront) as another:
        await another.post(good)
        await another.shows("returning")
    await buyer.context.clear_cookies()
    await buyer.post(good)
    await buyer.shows("returning")
    yield "returning"


async def refusing(buyer: Visitor, landing: LandingPage, away: LandingPage) -> AsyncGenerator[str]:
    """Bring a browser to the pages of a landing page that takes nothing; their names."""
    await buyer.post(token("ok"), away.url)
    await buyer.shows("try-again")
    yield "try-again"
    for _ in range(BURST + 1):
        await buyer.context.request.post(f"{landing.url}/landing", form={}, max_redirects=0)
    await buyer.post(token("ok"))
    await buyer.shows("busy")
    yield "busy"


async def looked_at(buyer: Visitor, name: str) -> list[str]:
    """What is wrong with the present page, in light and dark; takes its pictures if asked to."""
    found = []
    await buyer.page.set_viewport_size({"width": NARROW, "height": 640})
    if await buyer.page.evaluate("document.documentElement.scrollWidth") > NARROW:
        found.append(f"{name}: is wider than a small phone")
    for scheme in ("light", "dark"):
        await buyer.page.emulate_media(color_scheme=scheme)
        found += [f"{name}, {scheme}: {fault}" for fault in await buyer.faults()]
        for device, (width, height) in DEVICES.items() if PICTURES else ():
            await buyer.page.set_viewport_size({"width": width, "height": height})
            path = Path(PICTURES) / f"{name}-{scheme}-{device}.png"
            await buyer.page.screenshot(path=path, full_page=True, animations="disabled")
    return found


async def test_every_page(
    buyer: Visitor, browser: Browser, landing: LandingPage, landing_stage: Installation
) -> None:
    """Axe finds nothing on any page, a small phone has room, and nothing is of other hosts."""
    away = landing_on(landing_stage, RESOLUTION_AMQP__URL="amqp://shop:secret@127.0.0.1:1/")
    await away.ready()
    found = []
    for pages in (
        simple(buyer, landing),
        shopping(buyer, browser, landing_stage),
        refusing(buyer, landing, away),
    ):
        async with aclosing(pages):
            async for name in pages:
                found += await looked_at(buyer, name)
    away.kill()
    assert found == []
    assert buyer.complaints == []
    hosts = {request.url.partition("//")[2].partition("/")[0] for request in buyer.sent}
    own = (buyer.storefront.url, landing.url, away.url)
    assert hosts == {url.partition("//")[2].partition("/")[0] for url in own}


async def test_a_fault_is_found(buyer: Visitor, landing: LandingPage) -> None:
    """Words too pale to read are found: the check above checks something."""
    await buyer.page.goto(f"{landing.url}/landing")
    await buyer.page.evaluate("document.querySelector('#detail').style.color = '#ccc'")
    (fault,) = await buyer.faults()
    assert fault.startswith('color-contrast: ["#detail"]')
