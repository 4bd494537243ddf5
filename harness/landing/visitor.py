"""A buyer's browser: Chromium, driven."""

from __future__ import annotations

import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import async_playwright

from harness.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Page,
        Request,
        Response,
    )

    from harness.landing.storefront import Storefront

_CHROMIUM: Final = "/usr/bin/chromium"
_AXE: Final = Path(__file__).parents[2] / "requirements/axe/node_modules/axe-core/axe.min.js"
_FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MILLISECONDS: Final = 1000
_networks = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser profile of its own, from a network of its own, and the page that it looks at.

    Attributes:
        context: The profile.
        page: The page.
        storefront: Where buyers come from.
        sent: All requests so far, of all its pages.
        complaints: What the browser's console shows as errors, a blocked style say.
    """

    context: BrowserContext
    page: Page
    storefront: Storefront
    sent: list[Request]
    complaints: list[str]

    async def post(self, token: str, landing: str | None = None) -> Response:
        """Come from the storefront with a token, to the end of the redirects."""
        await self.page.goto(self.storefront.offer(token, landing))
        async with self.page.expect_navigation() as arriving:
            await self.page.get_by_role("button").click()
        response = await arriving.value
        assert response is not None
        return response

    async def shows(self, state: str, page: Page | None = None) -> None:
        """Wait until the page, or another of its pages, is in a state."""
        shown = (page or self.page).locator(f'main[data-state="{state}"]')
        await shown.wait_for(timeout=GENEROUS_SECONDS * _MILLISECONDS)

    async def text(self) -> str:
        """What the page says."""
        return await self.page.locator("main").inner_text()

    async def support_code(self) -> str:
        """The support code that the page shows."""
        return (await self.page.locator("#support-code").inner_text()).strip()

    async def faults(self) -> list[str]:
        """What axe finds wrong with the page: rule and place of each fault."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = await self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{each['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Chromium with a fresh profile, until the block ends."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_CHROMIUM, chromium_sandbox=False, args=_FLAGS
        )
        try:
            yield browser
        finally:
            await browser.close()


def _note(message: ConsoleMessage, complaints: list[str]) -> None:
    # A page with a status of 400 or more is one too.
    if message.type == "error" and "status of" not in message.text:
        complaints.append(message.text)


def network() -> str:
    """An address in a network (/24) that nobody else has."""
    number = next(_networks)
    return f"10.{number // 256}.{number % 256}.1"


@asynccontextmanager
async def visiting(
    browser: Browser, storefront: Storefront, address: str | None = None, **options: Any
) -> AsyncIterator[Visitor]:
    """A visitor until the block ends.

    Args:
        browser: What it looks with.
        storefront: Where it comes from.
        address: Its own, as a proxy would report it; else one in a network of its own.
        options: Playwright's, of the profile.
    """
    headers = {"X-Forwarded-For": address or network()}
    context = await browser.new_context(extra_http_headers=headers, **options)
    visitor = Visitor(context, await context.new_page(), storefront, [], [])
    # Not the lists' own methods: Playwright marks what it is given.
    context.on("request", lambda request: visitor.sent.append(request))  # noqa: PLW0108
    context.on("console", lambda message: _note(message, visitor.complaints))
    try:
        yield visitor
    finally:
        await context.close()
