"""A landing page on the shared stage, and buyers from networks of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.landing.application import landing_on
from tests.acceptance.landing.plain_browser import address, plain_browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.programs import Worker
    from tests.acceptance.landing.plain_browser import PlainBrowser


@pytest.fixture(scope="session")
def plain_page(shared_stage: Installation, shared_worker: Worker) -> LandingPage:
    """The landing page of the shared stage, which trusts no proxy."""
    return landing_on(shared_stage, LANDING_TRUSTED_PROXIES="")


@pytest.fixture
async def landing(plain_page: LandingPage, shared_worker: Worker) -> LandingPage:
    """The same, ready, with a worker that is too."""
    await shared_worker.ready()
    await plain_page.ready()
    return plain_page


@pytest.fixture
async def buyer(landing: LandingPage) -> AsyncIterator[PlainBrowser]:
    """A buyer's browser."""
    async with plain_browser(landing.url, address()) as browser:
        yield browser


@pytest.fixture
async def stranger(landing: LandingPage) -> AsyncIterator[PlainBrowser]:
    """Somebody else's."""
    async with plain_browser(landing.url, address()) as browser:
        yield browser
