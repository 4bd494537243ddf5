"""What the replicas of a seller account share, on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from worker import __version__
from worker.adapters.postgres.errors import translated_without_rows
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.rate.rows import FleetSnapshot, grant
from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sessions import Session, Sessions
from worker.adapters.postgres.sql import load_sql
from worker.core import backoff
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    import asyncpg

    from worker.adapters.postgres.sessions import Connect
    from worker.core.rate.fleet import Lease, ReplicaState, Report

_LOOK: Final = load_sql("rate/look")
_LEASE: Final = load_sql("rate/lease")
_PERMIT: Final = load_sql("rate/permit")
_PROBE: Final = load_sql("rate/probe")
_LEAVE: Final = load_sql("rate/leave")

log: Final = structlog.get_logger()

_CONNECTIONS: Final = 2  # so that a lease does not wait behind a permit
# Between two attempts at a lease: of many concurrent attempts, one succeeds each time.
_COLLISION: Final = backoff.FullJitter(base_seconds=0.004, cap_seconds=0.1)
_FOREIGN: Final = "another version wrote it; its rate is kept, what led to it is measured anew"
_CODE_CHARS: Final = 100
_MESSAGE_CHARS: Final = 500


class PostgresFleet:
    """The shared rate, the state of each replica and operators' commands, in PostgreSQL.

    All times are the database clock's, because the replicas' own may be off. It has connections of
    its own, so that it never waits behind the ledger's batches.

    No lock is held while a lease is computed: it is written only if no other lease was written
    since its inputs were read, and otherwise computed again. So a replica that freezes in the
    middle does not block the others.

    Args:
        connect: Opens one connection; see `sessions.connector`.
        initial: Calls a second at which the search starts if no quota is known yet.
        ceiling: The ceiling in this replica's settings, in calls a second; None for none.
        seller: The seller whose fleet it is.
        replica: The unique ID of this process; random by default.
        call_seconds: Time limit of one whole call, including waiting and connecting.
        statement_cache: As in `PostgresLedger`.

    Attributes:
        ceiling: As given; a new value counts from the next lease on. The lowest ceiling of all live
            replicas applies, unless an operator has set another.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        initial: float,
        ceiling: float | None,
        seller: str = DEFAULT_SELLER,
        replica: str | None = None,
        call_seconds: float = 2.0,
        statement_cache: bool | None = None,
    ) -> None:
        self._sessions = Sessions(connect, _CONNECTIONS, statement_cache=statement_cache)
        self._call_seconds = call_seconds
        self._initial = initial
        self._seller = seller
        self._replica = replica or uuid.uuid4().hex
        self._foreign_told = False
        self.ceiling = ceiling

    @property
    def replica(self) -> str:
        """The unique ID of this process."""
        return self._replica

    async def lease(self, report: Report, state: ReplicaState) -> Lease:
        """Report, and get a lease. To be called about once a second.

        A replica that does not call for three seconds counts as dead, and its share is free. A
        report that is passed twice counts twice, which moves the rate no further than one epoch.

        Args:
            report: The observations since the last successful report.
            state: This replica's state, published to the others.

        Raises:
            LedgerUnavailable: The call failed; whether the report was stored is unknown.
        """
        with translated_without_rows():
            async with asyncio.timeout(self._call_seconds), self._sessions.borrow() as session:
                failures = 0
                while (lease := await self._try_lease(session, report, state)) is None:
                    failures += 1
                    draw = random.random()  # noqa: S311 - spread
                    await asyncio.sleep(_COLLISION.delay(failures, draw))
                return lease

    async def _try_lease(
        self, session: Session, report: Report, state: ReplicaState
    ) -> Lease | None:
        """One attempt; None if another replica's lease was written meanwhile."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        (row,) = await session.fetch(_LOOK, self._seller)
        snapshot = FleetSnapshot.of(row, self._replica, asked=asked, heard=clock())
        if snapshot.nonsense:
            log.warning(
                "rate_state_replaced", reason="the stored state was not written by a worker"
            )
        if snapshot.state and snapshot.foreign and not self._foreign_told:
            self._foreign_told = True
            log.info("rate_state_restarted", reason=_FOREIGN, rate=snapshot.state.rate)
        rate_state, lease = grant(
            snapshot, report, state, initial=self._initial, ceiling=self.ceiling
        )
        written = await session.fetch(
            _LEASE,
            self._seller,
            snapshot.version,
            orjson.dumps(rate_state).decode(),
            lease.rate,
            lease.singly,
            lease.replicas,
            self._replica,
            report.need,
            lease.share,
            self.ceiling,
            __version__,
            _document(state),
        )
        return lease if written else None

    async def permit(self) -> float:
        """Take the fleet's next single permit; returns the seconds until it may be used, 0 for now.

        If each replica takes one at a time, it is at most as many intervals ahead as there are
        replicas.

        Raises:
            LedgerUnavailable: The call failed, or there is no rate yet because no lease was ever
                written.
        """
        rows = await self._ask(_PERMIT, self._seller)
        if not rows:
            raise LedgerUnavailable("the fleet has no rate yet; the next lease writes one")
        return max(0.0, float(rows[0]["seconds"]))

    async def may_probe(self) -> bool:
        """Take the fleet's turn to probe AWS, one a second for all replicas; whether it was taken.

        Raises:
            LedgerUnavailable: The call failed.
        """
        return bool(await self._ask(_PROBE, self._seller))

    async def leave(self) -> None:
        """Give the share back when this replica ends.

        Raises:
            LedgerUnavailable: The call failed; the share becomes free after some seconds.
        """
        await self._ask(_LEAVE, self._seller, self._replica)

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()

    async def _ask(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        with translated_without_rows():
            async with asyncio.timeout(self._call_seconds), self._sessions.borrow() as session:
                return await session.fetch(sql, *arguments)


def _document(state: ReplicaState) -> str:
    """A replica's state as `lease.sql` unpacks it."""
    refusal = state.refusal
    return orjson.dumps(
        {
            "identity": storable_text(state.identity),
            "refused_code": refusal and storable_text(refusal.code)[:_CODE_CHARS],
            "refused_message": refusal and storable_text(refusal.message)[:_MESSAGE_CHARS],
            "refused_seconds": refusal and state.refused_seconds,
            "probes": state.probes,
            "accepted_seconds": state.accepted_seconds,
            "suspected": state.suspected,
            "skew_seconds": state.skew_seconds,
            "schema_version": LATEST,
            "in_hand": state.in_hand,
        }
    ).decode()
