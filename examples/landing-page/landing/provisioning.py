"""Hears of every answer, and has each agreement provisioned once.

`python -m landing.provisioning` does it without pages, beside an endpoint in another framework.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from landing import shop
from landing.events import News, watch
from landing.settings import Settings
from landing.store import Background, Store
from resolution_client import Resolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from landing.records import Agreement

    Hook: TypeAlias = Callable[[Agreement], Awaitable[None]]

QUEUE: Final = "landing"
AT_ONCE: Final = 4
HOOK_SECONDS: Final = 45.0
"""Shorter than the lease, so that no two processes are at one agreement at once."""
AGAIN_SECONDS: Final = 10.0
MOST_AGAIN_SECONDS: Final = 3600.0
MOST_DOUBLED: Final = 16
"""After a thousand tries the pause would be no number any more."""
LOOK_SECONDS: Final = 5.0
log: Final = logging.getLogger(__name__)


async def listen(store: Background, resolver: Resolver) -> None:
    """Store every answer, also those that come when nobody waits."""
    async for answer in resolver.settled(QUEUE):
        await store(Store.record, answer, time.time())


async def provision_all(store: Background, hook: Hook, news: News) -> None:
    """Call the hook for each agreement that is due, one after the other."""
    while True:
        ticket = news.ticket()
        agreement = await store(Store.claim, time.time())
        if agreement is None:
            await news.after(ticket, LOOK_SECONDS)
        else:
            await _provision(store, hook, agreement)


async def _provision(store: Background, hook: Hook, agreement: Agreement) -> None:
    key = agreement.customer.agreement_key
    try:
        async with asyncio.timeout(HOOK_SECONDS):
            await hook(agreement)
    except Exception:
        log.exception("the hook failed for %s; it is called again", key)
        doubled = min(agreement.tries, MOST_DOUBLED)
        pause = min(AGAIN_SECONDS * 2**doubled, MOST_AGAIN_SECONDS)
        await store(Store.not_provisioned, key, time.time() + pause)
    else:
        await store(Store.provisioned, key, time.time())


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("begins again in %g seconds", AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def running(
    database: Path, hook: Hook, news: News
) -> AsyncIterator[tuple[Background, Resolver]]:
    """The store and the resolver, with all that works beside the pages, until the block ends."""
    async with Background(database) as store, Resolver.from_env() as resolver:
        works = [
            lambda: watch(store, resolver, news),
            lambda: listen(store, resolver),
            *[lambda: provision_all(store, hook, news)] * AT_ONCE,
        ]
        tasks = [asyncio.create_task(_for_ever(work)) for work in works]
        try:
            yield store, resolver
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def main() -> None:
    """Listen and provision until stopped."""
    async with running(Settings.from_env().database, shop.provision, News()):
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
