"""What is on its way to the broker at once, in messages and in bytes."""

from __future__ import annotations

import asyncio

from tests.fakes.clock import leaping
from worker.adapters.rabbitmq.window import MOST_BYTES, Window, batches
from worker.core.batching import MOST_BATCH_BYTES
from worker.core.token.outgoing import Outgoing

KIB = 1024


def sized(size: int) -> Outgoing:
    """A message whose body has so many bytes."""
    return Outgoing("resolution.internal", "token", b"x" * size, "m")


def test_batches_keep_to_a_number_and_a_size() -> None:
    """Small messages go by number, large ones by size; none is left out."""
    assert [len(batch) for batch in batches([sized(9)] * 300, 128)] == [128, 128, 44]
    large = list(batches([sized(64 * KIB)] * 40, 128))
    assert [len(batch) for batch in large] == [16, 16, 8]
    assert sum(len(message.body) for message in large[0]) == MOST_BATCH_BYTES
    assert len(list(batches([sized(2 * MOST_BATCH_BYTES)] * 3, 128))) == 3


@leaping
async def test_no_more_bytes_follow_than_there_is_room_for() -> None:
    """However few messages they are, large ones wait until others are confirmed."""
    window, message = Window(512), sized(64 * KIB)
    batch = [message] * 16
    for _ in range(MOST_BYTES // MOST_BATCH_BYTES):
        assert await window.room(batch, lambda: False)
        for one in batch:
            window.enter(one)
    waiting = asyncio.create_task(window.room(batch, lambda: False))
    for one in batch[1:]:
        window.leave(one)
        await asyncio.sleep(1)
    assert not waiting.done()
    window.leave(message)
    assert await waiting
    assert len(window) == 48


@leaping
async def test_what_is_larger_than_the_window_goes_alone() -> None:
    """One that has no room beside anything is sent when nothing else is on its way."""
    window, huge = Window(512), sized(2 * MOST_BYTES)
    assert await window.room([huge], lambda: False)
    window.enter(huge)
    waiting = asyncio.create_task(window.room([sized(1)], lambda: False))
    await asyncio.sleep(1)
    assert not waiting.done()
    window.leave(huge)
    assert await waiting


@leaping
async def test_nobody_waits_for_room_on_a_closed_channel() -> None:
    """Who waits when the channel closes is woken, and told that nothing can follow."""
    window, closed = Window(1), False
    window.enter(sized(1))
    waiting = asyncio.create_task(window.room([sized(1)], lambda: closed))
    await asyncio.sleep(1)
    assert not waiting.done()
    closed = True
    window.wake()
    assert not await waiting
