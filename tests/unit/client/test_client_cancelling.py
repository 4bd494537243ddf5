"""Whoever cancels a task that waits for the broker is obeyed, whatever the library does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from resolution_client import broker
from worker.adapters.rabbitmq import connection

if TYPE_CHECKING:
    from collections.abc import Callable


async def swallows() -> str:
    """As `asyncio.wait_for` of Python 3.11, if the answer comes as it is cancelled."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "an answer"


@pytest.mark.parametrize("ask", [broker.asked, connection.bounded], ids=["client", "worker"])
async def test_a_swallowed_cancellation_travels_on(ask: Callable[..., Any]) -> None:
    """An answer that came at the same moment is dropped: the task must end."""
    task = asyncio.create_task(ask(swallows(), 30.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 5)
    assert task.cancelled()


@pytest.mark.parametrize("ask", [broker.asked, connection.bounded], ids=["client", "worker"])
async def test_an_answer_is_returned_to_who_was_cancelled_before(ask: Callable[..., Any]) -> None:
    """What cleans up after a cancellation waits for the broker like anybody else."""

    async def cleans_up() -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            return await ask(asyncio.sleep(0, "an answer"), 30.0)  # noqa: B012 - as a close does

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "an answer"
