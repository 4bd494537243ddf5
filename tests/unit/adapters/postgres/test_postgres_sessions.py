"""Sessions without a server: which are dropped, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from worker.adapters.postgres.sessions import Sessions

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Connection


class FakeConnection:
    """A connection that only knows whether it was cut."""

    def __init__(self) -> None:
        self.cut = False

    def is_closed(self) -> bool:
        """Whether it is known to be gone."""
        return self.cut

    def terminate(self) -> None:
        """Cut it."""
        self.cut = True


class Server:
    """Counts who connects."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []

    async def connect(self) -> Connection:
        """Open another."""
        self.connections.append(FakeConnection())
        return cast("Connection", self.connections[-1])


async def test_a_loss_is_told_and_the_idle_are_cut() -> None:
    """After one session was lost those that nobody uses are cut; one that is in use is not."""
    server = Server()
    sessions = Sessions(server.connect, 3, statement_cache=False, lost=lambda: told.append(1))
    told: list[int] = []

    async with sessions.borrow(), sessions.borrow():
        pass
    async with sessions.borrow():
        with pytest.raises(TimeoutError):
            async with sessions.borrow():
                raise TimeoutError
        sessions.distrust()
        assert [connection.cut for connection in server.connections] == [False, True]
    sessions.distrust()

    assert told == [1]
    assert all(connection.cut for connection in server.connections)


async def test_what_was_cut_opens_anew() -> None:
    """Whoever wants a session after that gets another one."""
    server = Server()
    sessions = Sessions(server.connect, 1, statement_cache=False)
    for _ in range(2):
        async with sessions.borrow():
            pass
        sessions.distrust()
    assert len(server.connections) == 2
