"""The servers of the nights, which they hurt, and which nights a run includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from harness.nights.hosts import Hosts, hosts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def night_hosts() -> AsyncIterator[Hosts]:
    """A broker and a database for all nights of a run."""
    async with hosts() as running:
        yield running
