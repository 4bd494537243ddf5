"""What a waiting page is told, and when its stream ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import StreamingResponse

from harness.waiting import eventually
from landing import events, security, views
from landing.events import News, stream
from landing.limits import Streams
from landing.pages import Parts
from landing.store import Background, Store
from landing.visits import Page, State
from tests.unit.landing.landing_answers import pending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


def page(state: State, headline: str = "h") -> Page:
    """A page."""
    return Page(state, headline, "d", "WGR1")


class Stream:
    """A stream, what it looks at, and what it has said."""

    def __init__(self) -> None:
        self.news = News()
        self.shown: Page | None = page("waiting")
        self.said: list[str] = []
        self.ended = False

    async def look(self) -> Page | None:
        """The page at this moment."""
        return self.shown

    async def run(self) -> None:
        """Listen until it ends."""
        async for event in stream(self.look, self.news):
            self.said.append(event)
        self.ended = True

    @property
    def words(self) -> list[str]:
        """State and headline of each event."""
        data = [json.loads(each[6:]) for each in self.said if each.startswith("data: ")]
        return [f"{each['state']} {each['headline']}" for each in data]

    def show(self, shown: Page | None) -> None:
        """Change the page."""
        self.shown = shown
        self.news.tell()


@asynccontextmanager
async def open_stream() -> AsyncIterator[Stream]:
    """A stream that has said how things stand."""
    one = Stream()
    task = asyncio.create_task(one.run())
    try:
        await eventually(lambda: one.words, "the first event")
        yield one
        await task
    finally:
        task.cancel()


async def test_it_says_what_changes_and_ends() -> None:
    """Words are sent when they change, and no more once there is nothing to wait for."""
    async with open_stream() as one:
        assert one.said[0] == "retry: 2000\n\n"
        one.news.tell()  # of something else
        one.show(page("waiting", "longer"))
        await eventually(lambda: len(one.words) > 1, "the second event")
        one.show(page("resolved"))
    assert one.words == ["waiting h", "waiting longer", "resolved h"]


async def test_it_ends_with_its_process() -> None:
    """When the process is about to end, so do its streams, without waiting for anything."""
    async with open_stream() as one, asyncio.timeout(1):
        one.news.close()
        await eventually(lambda: one.ended, "the end")
    again = Stream()
    again.news.close()
    await again.run()
    assert again.ended


async def test_it_ends_with_its_set_up() -> None:
    """A stream of a set-up that was forgotten ends."""
    async with open_stream() as one:
        one.show(None)
    assert one.words == ["waiting h"]


async def test_no_change_is_missed() -> None:
    """What changes between a look and the wait after it is seen."""
    one = Stream()

    async def look() -> Page | None:
        found, one.shown = one.shown, page("resolved")
        one.news.tell()
        return found

    async with asyncio.timeout(5):
        assert len([event async for event in stream(look, one.news)]) == 3


async def test_comments_keep_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes it says so now and then, and ends after its time."""
    monkeypatch.setattr(events, "COMMENT_SECONDS", 0.02)
    one = Stream()
    said = [event async for event in stream(one.look, one.news, seconds=0.2)]
    assert said.count(": still here\n\n") >= 2
    assert len(said) == 2 + said.count(": still here\n\n")


class Workers:
    """A resolver that knows nothing of the workers."""

    workers = None


async def test_the_headers_alone_are_no_stream(tmp_path: Path) -> None:
    """After HEAD a proxy gives the connection to others, so nothing may go on there."""
    async with Background(tmp_path / "landing.sqlite") as store:
        await store(Store.begin, 7, security.digest("c"), pending("m"), 1.0)
        parts = Parts(*cast(Any, (store, Workers(), News(), None, Streams())))
        scope = {
            "type": "http",
            "headers": [(b"cookie", b"__Host-landing-7=c")],
            "path_params": {"number": 7},
            "state": {"parts": parts},
        }
        whole = await views.events(Request(scope | {"method": "GET"}))
        assert isinstance(whole, StreamingResponse)
        head = await views.events(Request(scope | {"method": "HEAD"}))
        assert not isinstance(head, StreamingResponse)
        assert (head.status_code, head.media_type) == (200, whole.media_type)
