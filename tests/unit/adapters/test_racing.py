"""Several addresses: whichever answers first is used, and none hides the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from worker.adapters.racing import NoneSucceeded, addresses_of, first_of
from worker.core.addresses.text import Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Attempt = tuple[str, "Callable[[], Awaitable[str]]"]


def answering(name: str, after: float = 0.0) -> Attempt:
    """An address that answers."""

    async def connect() -> str:
        await asyncio.sleep(after)
        return name

    return name, connect


def refusing(name: str) -> Attempt:
    """An address that refuses."""

    async def connect() -> str:
        raise ConnectionRefusedError(name)

    return name, connect


def silent(name: str, ended: list[str] | None = None) -> Attempt:
    """An address that never answers."""

    async def connect() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            if ended is not None:
                ended.append(name)
        raise AssertionError

    return name, connect


async def race(*attempts: Attempt, seconds: float = 1.0) -> str:
    """What comes of the attempts."""
    deadline = asyncio.get_running_loop().time() + seconds
    return await first_of(attempts, deadline=deadline, discard=_ignore)


async def _ignore(_: str) -> None:
    """Nothing to close."""


@pytest.mark.parametrize(
    "attempts",
    [
        (answering("good"),),
        (answering("good"), answering("second")),
        (refusing("a"), answering("good")),
        (silent("a"), answering("good")),
        (silent("a"), silent("b"), refusing("c"), silent("d"), answering("good")),
        (answering("slow", 10), answering("good")),
    ],
)
async def test_the_first_that_answers_is_used(attempts: tuple[Attempt, ...]) -> None:
    """Silence and refusals before it cost little; the order counts among those that answer."""
    assert await race(*attempts) == "good"


async def test_every_failure_is_told() -> None:
    """Where none answers, each address has its own reason, and the bound holds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(NoneSucceeded) as caught:
        await race(refusing("a"), silent("b"), refusing("c"), seconds=0.3)
    assert loop.time() - began < 2
    kinds = {place: type(error) for place, error in caught.value.failed}
    assert kinds == {"a": ConnectionRefusedError, "b": TimeoutError, "c": ConnectionRefusedError}


async def test_a_race_within_a_race_tells_all_its_failures() -> None:
    """A host of several addresses is one attempt among several hosts."""

    async def host() -> str:
        return await race(refusing("a1"), refusing("a2"))

    with pytest.raises(NoneSucceeded) as caught:
        await race(("a", host), refusing("b"))
    assert [place for place, _ in caught.value.failed] == ["a1", "a2", "b"]


async def test_the_others_are_ended() -> None:
    """No attempt goes on once there is a connection, nor after a cancellation."""
    ended: list[str] = []
    assert await race(silent("a", ended), answering("good")) == "good"
    assert ended == ["a"]
    racing = asyncio.create_task(race(silent("b", ended), silent("c", ended), seconds=30))
    await asyncio.sleep(0.01)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert ended[1:] == ["b"]


async def test_a_connection_that_comes_too_late_is_closed() -> None:
    """Of two that answer in the same instant one is used, and the other is not left open."""
    closed: list[str] = []
    go = asyncio.Event()

    def waiting(name: str) -> Attempt:
        async def connect() -> str:
            await go.wait()
            return name

        return name, connect

    async def close(name: str) -> None:
        closed.append(name)

    deadline = asyncio.get_running_loop().time() + 0.4
    racing = asyncio.create_task(
        first_of([waiting("a"), waiting("b")], deadline=deadline, discard=close)
    )
    await asyncio.sleep(0.2)  # the second has begun
    go.set()
    used = await racing
    assert {used, *closed} == {"a", "b"}
    assert len(closed) == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "/run/postgresql"])
async def test_what_is_an_address_already_is_not_looked_up(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses and sockets need no name service."""
    monkeypatch.setattr("socket.getaddrinfo", None)
    assert await addresses_of(Host(name, 1), 0) == [name]
