"""What a buyer sees of the landing page, in Chromium against a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from harness.landing.application import landing_on
from harness.landing.visitor import visiting
from tests.acceptance.landing_browser.conftest import operate, paused, token

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.landing.storefront import Storefront
    from harness.landing.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_from_the_storefront_to_the_shop(buyer: Visitor) -> None:
    """A form from another site brings the buyer to the sign-up, by the keyboard alone."""
    response = await buyer.post(token("ok"))
    await buyer.shows("resolved")
    (post,) = [request for request in buyer.sent if request.method == "POST"]
    assert (await post.all_headers())["sec-fetch-site"] == "cross-site"
    assert response.status == 200
    assert response.request.redirected_from == post
    while not await buyer.page.evaluate("document.activeElement.matches('main button')"):
        await buyer.page.keyboard.press("Tab")
        assert not await buyer.page.evaluate("document.activeElement === document.body")
    await buyer.page.keyboard.press("Enter")
    await buyer.shows("welcome")
    assert urlsplit(buyer.page.url).path == "/welcome"


async def test_waiting_goes_on_by_itself(buyer: Visitor, landing_stage: Installation) -> None:
    """Who waits is told so, and the page goes on when the answer comes; nobody reloads it."""
    async with paused(landing_stage):
        await buyer.post(token("ok"))
        await buyer.shows("waiting")
        assert await buyer.page.locator("[aria-live=polite] #headline").inner_text()
    await buyer.shows("resolved")
    paths = [urlsplit(request.url).path for request in buyer.sent]
    assert sum(path.endswith("/events") for path in paths) == 1  # by the stream, not by asking


@pytest.mark.long
async def test_without_javascript(
    browser: Browser, storefront: Storefront, landing_stage: Installation
) -> None:
    """Without JavaScript the page reloads itself until the answer is there."""
    async with visiting(browser, storefront, java_script_enabled=False) as buyer:
        async with paused(landing_stage):
            await buyer.post(token("ok"))
            await buyer.shows("waiting")
        await buyer.shows("resolved")
        await buyer.page.get_by_role("button").click()
        await buyer.shows("welcome")


@pytest.mark.parametrize("word", ["invalid", "expired"])
async def test_begin_again(buyer: Visitor, word: str) -> None:
    """Who has a link that AWS does not take is sent back to AWS Marketplace."""
    await buyer.post(token(word))
    await buyer.shows("restart")
    assert "AWS Marketplace" in await buyer.text()


async def test_a_code_to_read_out(buyer: Visitor, landing_stage: Installation) -> None:
    """Whom AWS can't help gets a code, by which an operator finds the token."""
    await buyer.post(token("garbage"))
    await buyer.shows("contact")
    code = await buyer.support_code()
    assert "dead" in await operate(landing_stage, "lookup", code)


async def test_a_reload_and_the_way_back(buyer: Visitor) -> None:
    """A reload, the way back and forth, and the same form once more show the same set-up."""
    await buyer.post(good := token("ok"))
    await buyer.shows("resolved")
    await buyer.page.reload()
    await buyer.shows("resolved")
    await buyer.page.go_back()
    await buyer.page.get_by_role("button", name="Set up your account").wait_for()
    await buyer.page.go_forward()
    await buyer.shows("resolved")
    await buyer.post(good)  # AWS's page is still open, and the buyer presses its button again
    await buyer.shows("resolved")


@pytest.mark.long
async def test_a_reload_while_waiting(buyer: Visitor, landing_stage: Installation) -> None:
    """Who reloads the waiting page, or opens it in a second tab, waits on in both."""
    async with paused(landing_stage):
        await buyer.post(token("ok"))
        await buyer.shows("waiting")
        await buyer.page.reload()
        await buyer.shows("waiting")
        tab = await buyer.context.new_page()
        await tab.goto(buyer.page.url)
        await buyer.shows("waiting", tab)
    await asyncio.gather(buyer.shows("resolved"), buyer.shows("resolved", tab))


async def test_two_products_in_two_tabs(buyer: Visitor) -> None:
    """Two set-ups in one browser do not disturb each other."""
    await buyer.post(token("invalid"))
    await buyer.shows("restart")
    first = buyer.page.url
    await buyer.post(token("ok"))
    await buyer.shows("resolved")
    tab = await buyer.context.new_page()
    await tab.goto(first)
    await buyer.shows("restart", tab)
    await buyer.page.reload()
    await buyer.shows("resolved")


async def test_two_web_processes(
    buyer: Visitor, landing: LandingPage, landing_stage: Installation
) -> None:
    """Who came to one web process waits at another, which tells the answer too."""
    other = landing_on(landing_stage)
    await other.ready()
    async with paused(landing_stage):
        await buyer.post(token("ok"))
        await buyer.shows("waiting")
        tab = await buyer.context.new_page()
        await tab.goto(buyer.page.url.replace(landing.url, other.url))
        await buyer.shows("waiting", tab)
    await asyncio.gather(buyer.shows("resolved"), buyer.shows("resolved", tab))
