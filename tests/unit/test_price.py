"""What a token costs, counted and not timed: function calls of one run, whatever the machine."""

from __future__ import annotations

import cProfile
import logging
import pstats
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiobotocore.session import AioSession
from multidict import CIMultiDict, CIMultiDictProxy

from tests.fakes.clock import leaping
from tests.fakes.worker import working
from worker.adapters.aws import Endpoint
from worker.adapters.aws.attempt import Attempt, attempt
from worker.adapters.aws.direct import DirectCalls, request_of
from worker.adapters.aws.opening import _client
from worker.adapters.aws.plain import PlainCalls
from worker.adapters.aws.signing import Identity, Scope
from worker.adapters.aws.transport import Reply
from worker.runtime.token import answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

TOKEN = "ok-".ljust(300, "x")
IDENTITY = Identity("AKID", "secret", None)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the function calls of a block, Python's and C's."""
    profile = cProfile.Profile()
    calls: list[int] = []
    profile.enable()
    try:
        yield calls
    finally:
        profile.disable()
        calls.append(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined] # not in the stubs


class Echo:
    """A transport that answers at once."""

    async def post(self, *_: Any) -> Reply:
        """A success."""
        body = b'{"ProductCode": "p", "CustomerIdentifier": "c"}'
        return Reply(200, CIMultiDictProxy(CIMultiDict()), body)


async def test_a_direct_call_is_a_small_part_of_the_librarys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for the sending, a call takes a fortieth of what the library's client does for one."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    endpoint = Endpoint("us-east-1", "http://127.0.0.1:1", None, None, 5.0, 4)
    transport: Any = Echo()
    async with _client(AioSession(), endpoint) as client:
        direct = DirectCalls(transport, await request_of(client), Scope("us-east-1", "s"))
        plain = PlainCalls(client, transport)
        attempt.set(Attempt())
        found = []
        for calls in (direct, plain):
            assert await calls.resolve(TOKEN, IDENTITY)  # what is made once is made
            with counted() as count:
                for _ in range(20):
                    await calls.resolve(TOKEN, IDENTITY)
            found.append(count[0] / 20)
    assert found[0] * 40 < found[1], found


@leaping
async def test_a_tokens_way_takes_so_many_function_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """From delivery to ack, between stand-ins: a twentieth above today is too much."""
    # Whatever other tests have set up: lines of this level are dropped in production.
    quiet: Any = structlog.make_filtering_bound_logger(logging.WARNING)
    quiet = quiet(None, [], {})
    monkeypatch.setattr(answered, "log", quiet)
    async with working(concurrency=64) as worker:
        for number in range(100):
            worker.deliver(f"warm-{number}")
        await worker.all_acked()
        with counted() as count:
            for number in range(1_000):
                worker.deliver(f"ok-{number}".ljust(300, "x"))
            await worker.all_acked()
    assert count[0] / 1_000 < 1_000
