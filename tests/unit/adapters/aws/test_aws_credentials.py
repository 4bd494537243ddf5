"""Credentials beside the calls, on virtual time: one look-up at a time; what serves meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping, settle
from worker.adapters.aws.chain import Found, WrongAccount
from worker.adapters.aws.credentials import Credentials, CredentialsTimeout
from worker.adapters.aws.signing import Identity
from worker.core.renewal import LOOK_UP_SECONDS, MARGIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUARTER = 15 * 60.0


def now() -> float:
    """Virtual time, as the loop and the credentials see it."""
    return asyncio.get_running_loop().time()


class Source:
    """What gives out credentials: the first, the second and so on, at once and for ever.

    Attributes:
        seconds: How long a look-up takes.
        lasting: For how long the next credentials are good.
        faults: Why the next look-ups fail, in turn.
        begun: When look-ups began.
        most: How many were under way at once, at most.
    """

    def __init__(self, seconds: float = 0.0, lasting: float = math.inf) -> None:
        self.seconds = seconds
        self.lasting = lasting
        self.faults: deque[Exception] = deque()
        self.begun: list[float] = []
        self.most = 0
        self._under_way = 0

    async def look_up(self) -> Found:
        """Look once."""
        self.begun.append(now())
        key = Identity(f"key-{len(self.begun)}", "secret", None)
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self._under_way -= 1
        if self.faults:
            raise self.faults.popleft()
        return Found(key, now() + self.lasting, "test")


@asynccontextmanager
async def renewing(source: Source) -> AsyncIterator[Credentials]:
    """Credentials from that source."""
    credentials = Credentials(source.look_up, clock=now)
    async with credentials.renewing():
        yield credentials


async def asked(credentials: Credentials, within: float | None = None) -> str:
    """The access key that signs, or the name of why there is none."""
    try:
        deadline = None if within is None else now() + within
        return (await credentials.current(deadline)).access_key
    except Exception as error:  # noqa: BLE001 - told by its name
        return type(error).__name__


def serving(credentials: Credentials) -> str | None:
    """The access key that would sign at once."""
    found = credentials.serving()
    return found and found.access_key


@leaping
async def test_nothing_is_looked_up_before_it_is_asked_for() -> None:
    """An idle marketplace starts no program; then one look-up serves for ever."""
    source = Source()
    async with renewing(source) as credentials:
        await asyncio.sleep(1000)
        assert source.begun == []
        assert await asked(credentials) == "key-1"
        await asyncio.sleep(1e6)
        assert [await asked(credentials) for _ in range(3)] == ["key-1"] * 3
        assert len(source.begun) == 1


@leaping
async def test_whoever_asks_waits_for_one_and_the_same_look_up() -> None:
    """A slow look-up is begun once, finished behind its callers' deadlines, and its result used."""
    source = Source(seconds=6)
    async with renewing(source) as credentials:
        found = await asyncio.gather(*(asked(credentials, within=5) for _ in range(20)))
        assert (set(found), now()) == ({"TimeoutError"}, 5)
        assert await asked(credentials, within=5) == "key-1"
        assert now() == 6
        assert (len(source.begun), source.most) == (1, 1)


@leaping
async def test_a_caller_that_is_cancelled_ends_nobody_elses_look_up() -> None:
    """The look-up belongs to none of those who wait for it."""
    source = Source(seconds=6)
    async with renewing(source) as credentials:
        first = asyncio.create_task(asked(credentials))
        second = asyncio.create_task(asked(credentials))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == "key-1"
        assert len(source.begun) == 1


@leaping
async def test_a_look_up_is_bounded() -> None:
    """What gives no answer within a minute has failed, and the fault says the bound."""
    source = Source(seconds=math.inf)
    async with renewing(source) as credentials:
        with pytest.raises(CredentialsTimeout, match="no answer within 60 s"):
            await credentials.current(None)
        assert now() == LOOK_UP_SECONDS
        source.seconds = 1
        credentials.forget()
        assert await asked(credentials) == "key-2"


@leaping
async def test_what_is_held_serves_while_others_are_looked_for() -> None:
    """Renewal begins a quarter of an hour before the end, and nobody waits for it."""
    source = Source(lasting=QUARTER + 20)
    async with renewing(source) as credentials:
        await asked(credentials)
        source.seconds, source.lasting = 6, 3600
        await asyncio.sleep(25)
        assert source.begun == [0, 20]
        assert await asked(credentials, within=0) == "key-1"
        await asyncio.sleep(2)
        assert await asked(credentials, within=0) == "key-2"


@leaping
async def test_what_is_held_serves_until_shortly_before_its_end() -> None:
    """While renewals fail calls go on, a try each few seconds; then they say why there is none."""
    source = Source(lasting=QUARTER + 20)
    async with renewing(source) as credentials:
        await asked(credentials)
        source.faults = deque(OSError("away") for _ in range(10_000))
        with capture_logs() as logs:
            await asyncio.sleep(QUARTER + 20 - MARGIN_SECONDS - 1)
        assert serving(credentials) == "key-1"
        assert 110 <= len(source.begun) <= 300
        assert 10 <= [line["event"] for line in logs].count("credentials_kept") <= 15
        await asyncio.sleep(1)
        assert serving(credentials) is None
        assert await asked(credentials, within=5) == "OSError"
        source.faults.clear()
        await asyncio.sleep(8)
        assert serving(credentials) is not None  # without being asked for


@leaping
async def test_a_look_up_that_failed_is_not_repeated_at_each_call() -> None:
    """Callers hear at once why the last one failed; the next follows in a few seconds."""
    source = Source()
    source.faults = deque([OSError("away")] * 3)
    async with renewing(source) as credentials:
        for _ in range(100):
            assert await asked(credentials, within=5) == "OSError"
        assert source.begun == [0]
        while serving(credentials) is None:
            await asked(credentials, within=5)
            await asyncio.sleep(0.1)
        waits = [after - before for before, after in pairwise(source.begun)]
        assert len(source.begun) == 4
        assert all(1.5 <= wait <= 8.2 for wait in waits), waits


@leaping
async def test_who_asks_for_others_waits_for_them_after_a_failure_too() -> None:
    """A broken program is not started at each probe; a probe waits, and hears what is wrong."""
    source = Source()
    source.faults = deque([OSError("away")] * 2)
    async with renewing(source) as credentials:
        assert await asked(credentials) == "OSError"
        with pytest.raises(OSError, match="away"):
            await credentials.renewed(now() + 1)  # too soon for another
        assert source.begun == [0]
        with pytest.raises(OSError, match="away"):
            await credentials.renewed(now() + 5)
        assert len(source.begun) == 2
        assert (await credentials.renewed(now() + 10)).access_key == "key-3"


@leaping
async def test_what_was_refused_serves_until_there_is_other() -> None:
    """After a refusal others are looked for at once, and calls are made with the old meanwhile."""
    source = Source()
    async with renewing(source) as credentials:
        await asked(credentials)
        source.seconds = 6
        credentials.forget()
        await asyncio.sleep(5)
        assert (len(source.begun), serving(credentials)) == (2, "key-1")
        await asyncio.sleep(2)
        assert serving(credentials) == "key-2"
        assert (len(source.begun), source.most) == (2, 1)


@leaping
async def test_refusals_while_others_are_looked_for_start_nothing_more() -> None:
    """However often it is asked for, one look-up is under way, and all wait for that one."""
    source = Source()
    async with renewing(source) as credentials:
        await asked(credentials)
        source.seconds = 6
        asking = [asyncio.create_task(credentials.renewed(None)) for _ in range(10)]
        await asyncio.sleep(3)
        for _ in range(10):
            credentials.forget()
        assert {each.access_key for each in await asyncio.gather(*asking)} == {"key-2"}
        await asyncio.sleep(100)
        assert (len(source.begun), source.most) == (2, 1)


@leaping
async def test_static_keys_are_kept_where_a_look_up_fails() -> None:
    """A broken file or program is no answer: what is held serves on."""
    source = Source()
    async with renewing(source) as credentials:
        await asked(credentials)
        source.faults.append(OSError("away"))
        with pytest.raises(OSError, match="away"):
            await credentials.renewed(now() + 5)
        assert serving(credentials) == "key-1"
        assert isinstance(credentials.failure, OSError)
        assert (await credentials.renewed(None)).access_key == "key-3"
        assert credentials.failure is None


@leaping
async def test_another_account_is_an_answer() -> None:
    """Where the look-up finds another account's, the old ones serve no more."""
    source = Source(lasting=QUARTER + 20)
    async with renewing(source) as credentials:
        await asked(credentials)
        source.faults.append(WrongAccount("another's"))
        await asyncio.sleep(21)
        assert (serving(credentials), credentials.known) == (None, None)
        assert await asked(credentials, within=0) == "WrongAccount"


@leaping
async def test_what_was_found_before_serves_from_the_start() -> None:
    """Whoever has looked up already hands it over, and it is renewed in its time."""
    source = Source()
    found = Found(Identity("before", "secret", None), QUARTER + 20, "test")
    credentials = Credentials(source.look_up, known=found, clock=now)
    async with credentials.renewing():
        assert serving(credentials) == "before"
        await asyncio.sleep(21)
        assert source.begun == [20]


@leaping
async def test_a_look_up_ends_with_its_owner() -> None:
    """Nothing is left running once the block is over."""
    source = Source(seconds=math.inf)
    async with renewing(source) as credentials:
        waiting = asyncio.create_task(asked(credentials, within=1))
        await settle()
        assert source._under_way == 1
    assert source._under_way == 0
    assert [
        task.get_name() for task in asyncio.all_tasks() if task.get_name() == "credentials"
    ] == []
    assert await waiting == "TimeoutError"
