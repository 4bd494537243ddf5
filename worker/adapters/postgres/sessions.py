"""Sessions that open on demand, serve one caller at a time, and are replaced after a fault."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from worker.adapters.postgres.connect_errors import not_connected
from worker.adapters.postgres.connecting import default_port, open_first
from worker.adapters.postgres.errors import driven, leaves_session_sound, unfit_encoding
from worker.adapters.postgres.sql import load_sql
from worker.core.addresses.postgres import read
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.core.addresses.postgres import DatabaseAddress

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connect: TypeAlias = Callable[[], Awaitable[Connection]]

_BACKEND: Final = load_sql("backend")

_FAREWELL_SECONDS: Final = 1.0


def connector(
    dsn: Callable[[], str],
    *,
    connect_seconds: float | None = None,
    command_seconds: float = 10.0,
) -> Connect:
    """A function that opens one connection; it raises any error as `NotConnected`.

    Args:
        dsn: Called for each connection, so that a rotated secret is used.
        connect_seconds: Time limit of connecting, of all servers together; by default the
            address's own, else five seconds.
        command_seconds: Time limit of one statement, on the client's side.

    The driver's own statement cache is off: `Session` prepares repeated statements where possible.
    """

    async def connect() -> Connection:
        address: DatabaseAddress | None = None
        try:
            address = read(dsn(), default_port())
            return await open_first(
                address, connect_seconds, command_timeout=command_seconds, statement_cache_size=0
            )
        except Exception as error:  # noqa: BLE001 - odd addresses or answers make it raise any error
            fault = not_connected(error, address)
        # Outside the handler: the driver's error, kept as context, could reveal the address.
        raise fault

    return connect


def only_unicode(connect: Connect) -> Connect:
    """A function that opens connections to databases that can hold all of Unicode.

    It raises `LedgerUnavailable` for others, which the server names when a connection is opened.
    """

    async def checked() -> Connection:
        connection = await connect()
        if unfit := unfit_encoding(connection.get_settings().server_encoding):
            connection.terminate()
            raise LedgerUnavailable("; ".join(unfit))
        return connection

    return checked


async def close_quietly(connection: Connection, seconds: float) -> None:
    """Close a connection; terminate it if that fails or takes longer than `seconds`."""
    try:
        await connection.close(timeout=seconds)
    except Exception:  # noqa: BLE001 - whatever the error, the connection is done with
        connection.terminate()


class Session:
    """One open connection and the statements prepared on it.

    Attributes:
        commits_alone: Whether it is known that a statement without a transaction around it is one
            in which a function sees what others have committed before it.
    """

    def __init__(
        self, connection: Connection, *, statement_cache: bool, commits_alone: bool = False
    ) -> None:
        self._connection = connection
        self._statement_cache = statement_cache
        self.commits_alone = commits_alone
        self._prepared: dict[str, Any] = {}

    @classmethod
    async def open(cls, connect: Connect, *, statement_cache: bool | None) -> Session:
        """Connect; with `statement_cache` None, detect whether statements can be prepared.

        A pooler in transaction mode gives each transaction any free server process, where a
        statement prepared on another process does not exist, or is another client's with the same
        name. A pooler is detected by a process ID other than the one in the handshake.
        """
        connection = await connect()
        commits_alone = False
        try:
            if statement_cache is None:
                with driven():
                    row = await connection.fetchrow(_BACKEND)
                assert row is not None
                statement_cache = row["process"] == connection.get_server_pid()
                # Behind a pooler the next statement may meet another process, set otherwise.
                commits_alone = statement_cache and row["isolation"] == "read committed"
        except BaseException:
            connection.terminate()
            raise
        return cls(connection, statement_cache=statement_cache, commits_alone=commits_alone)

    @property
    def statement_cache(self) -> bool:
        """Whether statements are prepared once and kept."""
        return self._statement_cache

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._connection.is_closed()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows."""
        with driven():
            if not self._statement_cache:
                return await self._connection.fetch(sql, *arguments)
            statement = self._prepared.get(sql)
            if statement is None:
                statement = self._prepared[sql] = await self._connection.prepare(sql)
            rows: list[asyncpg.Record] = await statement.fetch(*arguments)
            return rows

    async def script(self, sql: str) -> str:
        """Run statements without parameters and return the last one's command tag."""
        with driven():
            return await self._connection.execute(sql)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """One transaction, in which each statement sees what others have committed before it.

        After a fault of the connection, or a cancellation, no ROLLBACK is sent: the connection is
        dropped, and a second wait on it would only delay the caller that cancelled.
        """
        await self.script("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            yield
        except asyncpg.PostgresError as error:
            if leaves_session_sound(error):
                await self.script("ROLLBACK")
            raise
        await self.script("COMMIT")

    async def close(self) -> None:
        """Close the connection, or terminate it if that takes too long."""
        await close_quietly(self._connection, _FAREWELL_SECONDS)

    def drop(self) -> None:
        """Terminate the connection at once; the server rolls back an open transaction."""
        self._connection.terminate()


@asynccontextmanager
async def one_session(connect: Connect) -> AsyncIterator[Session]:
    """A session for one command: it prepares nothing, and is closed when the block ends."""
    session = await Session.open(connect, statement_cache=False)
    try:
        yield session
    finally:
        await session.close()


class Unfit(LedgerUnavailable):
    """The database can't be used as it is; the session works, but must be replaced.

    Raised while a session is borrowed. Whether transactions are read-only by default, and the
    settings of a role, are fixed when a session begins, so it would not see a correction.
    """


class _Slot:
    """A slot for one session, empty until it is needed and again after a fault."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.lent = False
        self.doubted = False

    def drop(self) -> None:
        self.doubted = False
        if self.session is not None:
            self.session.drop()
            self.session = None


class Sessions:
    """A fixed number of sessions to one database.

    No reset query runs between callers, because none of them changes the session's state.

    After a fault no session that was open at that time is used again.

    Args:
        connect: Opens one connection.
        size: Maximum number of sessions.
        statement_cache: See `Session.open`.
        lost: Called when a session was dropped because of a fault other than `Unfit`.
    """

    def __init__(
        self,
        connect: Connect,
        size: int,
        *,
        statement_cache: bool | None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._statement_cache = statement_cache
        self._lost = lost
        self._slots = tuple(_Slot() for _ in range(size))
        # The last used session is lent first, so that a second opens only when two are needed.
        self._free: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        for slot in self._slots:
            self._free.put_nowait(slot)

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Session]:
        """Lend a session for the block; it is dropped after an error that may leave it unusable."""
        slot = await self._free.get()
        slot.lent = True
        try:
            yield await self._ready(slot)
        except BaseException as error:
            # A session that could not be opened says nothing about the open ones.
            if slot.session is not None and not leaves_session_sound(error):
                slot.drop()
                self.distrust()
                if not isinstance(error, Unfit):
                    self._lost()
            raise
        finally:
            slot.lent = False
            if slot.doubted:
                slot.drop()
            self._free.put_nowait(slot)

    def distrust(self) -> None:
        """Stop using all sessions that are open now: drop idle ones at once, others when returned.

        New sessions open when needed.
        """
        for slot in self._slots:
            if slot.lent:
                slot.doubted = True
            else:
                slot.drop()

    async def _ready(self, slot: _Slot) -> Session:
        if slot.session is None or slot.session.is_closed:
            slot.drop()
            slot.session = await Session.open(self._connect, statement_cache=self._statement_cache)
        return slot.session

    async def close(self) -> None:
        """Close every session; a new one opens if needed later."""
        sessions = [slot.session for slot in self._slots if slot.session is not None]
        for slot in self._slots:
            slot.session = None
        await asyncio.gather(*(session.close() for session in sessions))
