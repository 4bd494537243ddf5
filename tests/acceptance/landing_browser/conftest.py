"""A landing page on real servers, and the browsers of buyers who come to it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from harness.landing.application import landing_on
from harness.landing.storefront import Storefront
from harness.landing.visitor import chromium, visiting
from harness.waiting import eventually
from resolution_client import Resolver
from tests.acceptance.conftest import done, new_stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from playwright.async_api import Browser

    from harness.installation import Installation
    from harness.landing.application import LandingPage
    from harness.landing.visitor import Visitor
    from harness.servers import BrokerServer, PostgresServer

PATIENT = {"WORKER_AWS__TIMEOUT": "20s"}
"""Settings of a worker that lets AWS take its time."""


def token(word: str) -> str:
    """A token of the test's own, which begins with a word of the simulator's."""
    return f"{word}-{uuid.uuid4().hex}"


async def operate(stage: Installation, *command: str) -> str:
    """What an operator's command prints."""
    done = await asyncio.to_thread(
        stage.command, *command, "--actor", "me", WORKER_POSTGRES__DSN=stage.schema.operator
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def paused(stage: Installation, reason: str = "maintenance") -> AsyncIterator[None]:
    """Calls are paused in the block, and web tiers know it."""
    async with Resolver(stage.web) as resolver:
        await operate(stage, "pause", "--reason", reason)
        try:
            await eventually(
                lambda: resolver.workers and resolver.workers.calls == "paused", "calls are paused"
            )
            yield
        finally:
            await operate(stage, "resume", "--reason", "over")


@pytest.fixture(scope="session")
def landing_stage(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    keys: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """A stage with a patient worker; a test must leave it as it was."""
    home = tmp_path_factory.mktemp("landing")
    with new_stage(broker_server, postgres_server, keys, home) as stage:
        done(stage.start(**PATIENT).ready())
        yield stage


@pytest.fixture(scope="session")
def landing(landing_stage: Installation) -> LandingPage:
    """The landing page of that stage."""
    page = landing_on(landing_stage)
    done(page.ready())
    return page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, with a profile of its own for each visitor; the tests share its event loop."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def storefront(landing: LandingPage) -> AsyncIterator[Storefront]:
    """Where buyers come from."""
    async with Storefront(landing.url).serving() as storefront:
        yield storefront


@pytest_asyncio.fixture(loop_scope="session")
async def buyer(browser: Browser, storefront: Storefront) -> AsyncIterator[Visitor]:
    """A buyer's browser."""
    async with visiting(browser, storefront) as visitor:
        yield visitor


@asynccontextmanager
async def visitor_on(landing: LandingPage, browser: Browser) -> AsyncIterator[Visitor]:
    """A visitor of a landing page of the test's own."""
    await landing.ready()
    async with (
        Storefront(landing.url).serving() as storefront,
        visiting(browser, storefront) as visitor,
    ):
        yield visitor
