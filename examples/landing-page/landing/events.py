"""Tells waiting pages what has changed: one watch in each process, one stream for each page."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from landing.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from landing.store import Background
    from landing.visits import Page
    from resolution_client import Resolver

WATCH_SECONDS: Final = 0.25
COMMENT_SECONDS: Final = 15.0
STREAM_SECONDS: Final = 300.0
AGAIN_MILLISECONDS: Final = 2000
PRUNE_SECONDS: Final = 3600.0


class News:
    """Wakes all who wait whenever something has changed, whatever it is.

    Attributes:
        closed: The process is about to end: whoever waits must end too.
    """

    def __init__(self) -> None:
        self.closed = False
        self._next = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Take it before you look, and wait for it after: so no change is missed."""
        return self._next

    def tell(self) -> None:
        """Something has changed."""
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """The process is about to end."""
        self.closed = True
        self.tell()

    async def after(self, ticket: asyncio.Event, seconds: float) -> None:
        """Wait for a change since the ticket was taken, but no longer than so many seconds."""
        if self.closed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ticket.wait()


async def watch(store: Background, resolver: Resolver, news: News) -> None:
    """Tell of changes that any process makes to the database, and of what the workers do.

    Nobody else tells of changes: when hundreds of answers come at once after an outage, each of
    them would have all who wait look again.
    """
    last: object = None
    prune_at = 0.0
    while True:
        workers = resolver.workers
        found = await store(Store.version), workers and workers.calls
        if found != last:
            last = found
            news.tell()
        if time.monotonic() >= prune_at:
            await store(Store.prune, time.time())
            prune_at = time.monotonic() + PRUNE_SECONDS
        await asyncio.sleep(WATCH_SECONDS)


async def stream(
    look: Callable[[], Awaitable[Page | None]], news: News, seconds: float = STREAM_SECONDS
) -> AsyncIterator[str]:
    """Server-sent events: the page's words whenever they are others, until it waits no more.

    Args:
        look: What the page would show now; None if its set-up is gone.
        news: Of what may change that.
        seconds: After so long it ends all the same, and the browser comes again.
    """
    yield f"retry: {AGAIN_MILLISECONDS}\n\n"
    ends = time.monotonic() + seconds
    last = ""
    while not news.closed and time.monotonic() < ends:
        ticket = news.ticket()
        page = await look()
        if page is None:
            return
        words = {"state": page.state, "headline": page.headline, "detail": page.detail}
        event = f"data: {json.dumps(words)}\n\n"
        if event != last:
            last = event
            yield event
        if page.state != "waiting":
            return
        await news.after(ticket, COMMENT_SECONDS)
        if not ticket.is_set():
            yield ": still here\n\n"
