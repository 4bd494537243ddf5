"""`make landing`: the landing page and all that it needs on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import math
import os
import shlex
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.landing.application import LandingPage
from harness.landing.storefront import Storefront
from worker.lab.demo.progress import reporting
from worker.lab.demo.servers import installation, plain, set_up, start_worker
from worker.lab.servers import ServiceError
from worker.lab.servers.errors import the_fault
from worker.lab.servers.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from worker.lab.demo.progress import Progress
    from worker.lab.demo.servers import Installation

_UNAVAILABLE: Final = 69
_WORKERS: Final = 2
_STOP_SECONDS: Final = 10.0
_SETTINGS: Final = {"WORKER_AWS__TIMEOUT": "20s"}  # a buyer whom AWS answers late waits that long
_WORDS: Final = """
  {storefront}   plays AWS Marketplace: begin here
  {landing}   is the landing page

Try, while the page waits: reload it, go back, open it in a second tab, or copy its address into
a private window, where it opens nothing. Switch JavaScript off. Use the keyboard alone.

To pause and resume calls, or to look up a support code, in another terminal:
  export WORKER_POSTGRES__DSN={dsn}
  {command} pause --reason 'a maintenance' --actor me
  {command} resume --reason 'it is over' --actor me
  {command} lookup CODE --actor me

Ctrl-C ends everything and leaves nothing behind.
"""


def main() -> int:
    """Run everything.

    Returns:
        The exit code: 0 after a signal, 69 if something can't be had or has ended by itself.
    """
    try:
        asyncio.run(_serve())
    except asyncio.CancelledError:
        return 0
    except ServiceError as fault:
        _say(str(fault))
        return _UNAVAILABLE
    return 0


async def _serve() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="landing-page-") as folder, reporting() as progress:
        async with AsyncExitStack() as stack:
            try:
                setup = await _servers(Path(folder), stack, progress)
            except BaseExceptionGroup as faults:
                raise the_fault(faults) from None
            page = await _page(setup, stack, progress)
            storefront = await stack.enter_async_context(Storefront(page.url).serving())
            _say(_told(storefront, page, setup))
            raise ServiceError(await _first_end(page, setup))


async def _servers(folder: Path, stack: AsyncExitStack, progress: Progress) -> Installation:
    setup = installation(folder, plain(os.environ))
    setup.environ.update(_SETTINGS)
    await set_up(setup, stack, "landing", progress)
    for number, port in enumerate(free_ports(_WORKERS), 1):
        await start_worker(setup, stack, number, port, progress)
    return setup


async def _page(setup: Installation, stack: AsyncExitStack, progress: Progress) -> LandingPage:
    own = {**plain(os.environ), "RESOLUTION_CALLER": "shop"}
    page = LandingPage(setup.broker_url, setup.directory / "landing.sqlite", own)
    stack.push_async_callback(_stop, page)
    await page.ready()
    progress.event(f"landing page: {page.url}")
    return page


async def _stop(page: LandingPage) -> None:
    try:
        page.send(signal.SIGTERM)
        await page.exit_code(_STOP_SECONDS)
    finally:
        page.kill()


async def _first_end(page: LandingPage, setup: Installation) -> str:
    """What has ended by itself, in words."""
    ends: dict[str, Coroutine[object, object, object]] = {
        "the landing page": page.exit_code(math.inf),
        **{each.name: each.server.ended() for each in setup.processes},
    }
    watched = {asyncio.create_task(end): name for name, end in ends.items()}
    try:
        ended, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in watched:
            each.cancel()
    return f"{watched[ended.pop()]} has ended by itself. The landing page said last:\n{page.said}"


def _told(storefront: Storefront, page: LandingPage, setup: Installation) -> str:
    command = shlex.quote(str(Path(sys.executable).with_name("resolution-worker")))
    dsn = shlex.quote(setup.database_dsn)
    width = max(len(storefront.url), len(page.url))
    return _WORDS.format(
        storefront=storefront.url.ljust(width),
        landing=page.url.ljust(width),
        dsn=dsn,
        command=command,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
