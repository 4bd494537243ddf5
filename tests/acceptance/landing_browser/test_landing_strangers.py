"""What a stranger gets by a leaked link or a token of their own, and where a token is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.landing.visitor import visiting
from tests.acceptance.landing_browser.conftest import paused, token

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.landing.storefront import Storefront
    from harness.landing.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_leaked_link(
    browser: Browser, storefront: Storefront, buyer: Visitor, landing_stage: Installation
) -> None:
    """The address of a set-up is worth nothing in another browser, before the answer and after."""
    async with visiting(browser, storefront) as stranger:
        async with paused(landing_stage):
            await buyer.post(token("ok"))
            await buyer.shows("waiting")
            response = await stranger.page.goto(buyer.page.url)
            assert response is not None
            assert response.status == 404
            await stranger.shows("nothing")
            events = await stranger.context.request.get(f"{buyer.page.url}/events")
            assert events.status == 404
        await buyer.shows("resolved")
        await stranger.page.reload()
        await stranger.shows("nothing")


async def test_a_leaked_token(browser: Browser, storefront: Storefront, buyer: Visitor) -> None:
    """Who posts another buyer's token is asked to log in, and is told nothing of the buyer."""
    await buyer.post(leaked := token("ok"))
    await buyer.shows("resolved")
    async with visiting(browser, storefront) as stranger:
        await stranger.post(leaked)
        await stranger.shows("returning")
        assert await stranger.page.locator("main form").count() == 0
    await buyer.page.reload()
    await buyer.shows("resolved")


async def test_a_strangers_token(buyer: Visitor, landing: LandingPage) -> None:
    """A token that a stranger makes a browser post signs nobody in, and takes no session away."""
    await buyer.post(token("ok"))
    await buyer.shows("resolved")
    await buyer.page.goto(f"{landing.url}/welcome")
    await buyer.shows("login")
    await buyer.page.go_back()
    await buyer.page.locator("main form button").click()
    await buyer.shows("welcome")
    mine = await buyer.text()
    await buyer.post(token("ok"))
    await buyer.shows("other-customer")
    await buyer.page.goto(f"{landing.url}/welcome")
    assert await buyer.text() == mine


async def test_a_press_from_another_site(buyer: Visitor) -> None:
    """Another site can't press the button that goes on: it does not know the form's key."""
    await buyer.post(token("ok"))
    await buyer.shows("resolved")
    action = f"{buyer.page.url}/continue"
    await buyer.page.goto(buyer.storefront.url)
    form = (
        "action => { const form = document.createElement('form'); form.method = 'post';"
        " form.action = action; document.body.append(form); form.submit(); }"
    )
    async with buyer.page.expect_navigation() as arriving:
        await buyer.page.evaluate(form, action)
    response = await arriving.value
    assert response is not None
    assert response.status in {403, 404}
    await buyer.page.goto(f"{urlsplit(action)._replace(path='/welcome').geturl()}")
    assert await buyer.page.locator('main[data-state="welcome"]').count() == 0


STORED = (
    "async () => JSON.stringify([{...localStorage}, {...sessionStorage},"
    " await indexedDB.databases(), await caches.keys(), window.name, document.referrer])"
)


async def told(buyer: Visitor, landing: LandingPage) -> list[tuple[str, Any]]:
    """All that went between the browser and the landing page, but for the form that brings it."""
    found: list[tuple[str, Any]] = []
    for request in buyer.sent:
        if not request.url.startswith(landing.url):
            continue
        headers = await request.all_headers()
        found.append(("request", (request.url, headers)))
        if urlsplit(request.url).path != "/landing":
            assert "referer" not in headers
            found.append(("body", request.post_data))
        response = await request.response()
        assert response is not None
        found.append(("response", await response.all_headers()))
    return found


def kept(folder: Path) -> bytes:
    """Every byte of the database."""
    files = list(folder.glob("landing.sqlite*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


async def test_a_token_is_nowhere(
    buyer: Visitor, landing: LandingPage, landing_stage: Installation
) -> None:
    """A token is in no address, header, cookie, page, storage, referrer, log or database."""
    states = {"ok": "resolved", "slow-2500": "resolved", "garbage": "contact", "invalid": "restart"}
    canaries = {token(word): state for word, state in states.items()}
    pages = []
    for canary, state in canaries.items():
        await buyer.post(canary)
        pages.append(await buyer.page.content())
        await buyer.shows(state)
        pages.append(await buyer.page.content())
    stored = await buyer.page.evaluate(STORED)
    cookies = await buyer.context.cookies()
    places = [
        *await told(buyer, landing),
        ("pages", pages),
        ("storage", stored),
        ("cookies", cookies),
        ("profile", await buyer.context.storage_state(indexed_db=True)),
        ("log", landing.said),
        ("worker's log", "".join(each.said for each in landing_stage.started)),
        ("database", kept(landing_stage.home).decode("latin-1")),
    ]
    for canary in canaries:
        secret = canary.rpartition("-")[2]
        assert [name for name, what in places if secret in str(what)] == []
    assert "POST /landing" in landing.said


async def test_the_cookies(buyer: Visitor, landing: LandingPage) -> None:
    """Cookies are bound to this host, unseen by scripts, and not sent along from other sites."""
    await buyer.post(token("ok"))
    await buyer.shows("resolved")
    cookies = await buyer.context.cookies(landing.url)
    assert cookies
    for cookie in cookies:
        assert cookie["name"].startswith("__Host-")
        assert (cookie["secure"], cookie["httpOnly"], cookie["path"]) == (True, True, "/")
        assert cookie["sameSite"] == "Lax"
    await buyer.post(token("ok"))
    posts = [request for request in buyer.sent if request.method == "POST"]
    assert "cookie" not in await posts[-1].all_headers()
