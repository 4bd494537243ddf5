"""What people do to dead letters: claim, mark as published, release, discard, seal again.

Each method is one transaction, and raises `LedgerUnavailable` where the database can't be asked.
A connection lost at the commit leaves unknown whether it was done; each may be repeated.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.dead_letters import views
from worker.adapters.postgres.dead_letters.filters import statement_about
from worker.adapters.postgres.dead_letters.payloads import Purpose, open_payloads
from worker.adapters.postgres.dead_letters.transactions import Transactions
from worker.adapters.postgres.errors import translated
from worker.adapters.postgres.operator import audit
from worker.adapters.postgres.rows import document
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters.commands import Forecast, Holder, KeyUse, Preview, Result
from worker.core.dead_letters.replay import Claimed, Eligibility

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from worker.adapters.postgres.sessions import Connect, Session
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection
    from worker.core.dead_letters.replay import Prepared
    from worker.core.dead_letters.views import SealedPayload

_MISSING: Final = load_sql("dead_letters/missing")
_PREVIEW: Final = load_sql("dead_letters/preview")
_BEGIN: Final = load_sql("dead_letters/replay_begin")
_BEAT: Final = load_sql("dead_letters/replay_beat")
_RELEASE: Final = load_sql("dead_letters/release")
_END: Final = load_sql("dead_letters/replay_end")
_CLAIM: Final = load_sql("dead_letters/claim")
_ABANDONED: Final = load_sql("dead_letters/claimable_abandoned")
_OPEN: Final = load_sql("dead_letters/claimable_open")
_IDENTIFY: Final = load_sql("dead_letters/identify")
_PUBLISHED: Final = load_sql("dead_letters/published")
_HOLDERS: Final = load_sql("dead_letters/holders")
_RECONCILE: Final = load_sql("dead_letters/reconcile")
_OUTCOMES: Final = load_sql("dead_letters/replay_outcomes")
_COUNT_DISCARDABLE: Final = load_sql("dead_letters/count_discardable")
_DISCARDABLE: Final = load_sql("dead_letters/discardable")
_DISCARD: Final = load_sql("dead_letters/discard")
_KEYS: Final = load_sql("dead_letters/keys_in_use")
_RESEAL_CHOOSE: Final = load_sql("dead_letters/reseal_choose")
_RESEAL: Final = load_sql("dead_letters/reseal")


class DeadLetterCommands:
    """Changes dead letters.

    Args:
        connect: Opens one connection; see `sessions.connector`.
    """

    def __init__(self, connect: Connect) -> None:
        self._transactions = Transactions(connect)

    async def close(self) -> None:
        """Close all connections."""
        await self._transactions.sessions.close()

    async def group(self) -> None:
        """Group the dead letters of older workers, so that they can be chosen by group."""
        with translated():
            async with self._transactions.sessions.borrow() as session:
                await views.group_letters(session)

    async def missing(self, ids: Sequence[int]) -> list[int]:
        """Return which of these dead letters do not exist."""
        rows = await self._transactions.run(
            lambda session: session.fetch(_MISSING, json.dumps(ids))
        )
        return [row["id"] for row in rows]

    async def preview(
        self, selection: Selection, margin: timedelta, keys: Sequence[str], replay: int = 0
    ) -> Preview:
        """Return what a replay would do.

        Args:
            selection: Which dead letters.
            margin: How long before AWS's limit a token is too old.
            keys: Ids of the private keys at hand; without any, keys are not looked at.
            replay: The replay whose claims count as its own.
        """
        given = {"margin": margin, "keys": list(keys), "replay": replay}
        rows = await self._transactions.chosen(_PREVIEW, selection, given)
        return Preview(tuple(_forecast(row) for row in rows))

    # --- a replay ---

    async def begin(
        self, actor: Actor, selection: Selection, entry: audit.Entry, chosen: int
    ) -> tuple[int, datetime]:
        """Begin a replay, audited; return its number, and when it began on the database's clock."""
        described = json.dumps(selection.described())

        async def act(session: Session) -> tuple[int, datetime]:
            (row,) = await session.fetch(_BEGIN, *actor, described, chosen)
            subject = {**entry.subject, "replay": row["id"]}
            await audit.record(session, audit.Entry(*actor, entry.action, subject))
            return row["id"], row["started_at"]

        return await self._transactions.run(act)

    async def beat(self, replay: int, published: int, refused: int) -> None:
        """Record a heartbeat of a replay, and how far it is."""
        await self._transactions.run(
            lambda session: session.fetch(_BEAT, replay, published, refused)
        )

    async def end(
        self, replay: int, state: str, published: int, refused: int, entry: audit.Entry
    ) -> None:
        """End a replay, audited; release what it claimed and did not publish."""

        async def act(session: Session) -> None:
            await session.fetch(_RELEASE, replay, None, "released", None)
            await session.fetch(_END, replay, state, published, refused)
            await audit.record(session, entry)

        await self._transactions.run(act)

    async def claim(
        self, actor: Actor, selection: Selection, given: dict[str, Any], *, abandoned: bool
    ) -> list[tuple[datetime, Claimed]]:
        """Claim open dead letters, or claims of replays that died; return them with their payloads.

        Args:
            actor: Who replays them, and why.
            selection: Which dead letters.
            given: `replay`, `most`, `keys`, `margin` (a timedelta); for open ones `failed_until`,
                and `after` and `after_id`, where the last batch ended.
            abandoned: Whether to take claims over.

        Returns:
            Each with when it failed, in that order.
        """
        claimable = _ABANDONED if abandoned else _OPEN
        sql, arguments = statement_about(_CLAIM, selection, given, claimable=claimable)
        about = {"replay": given["replay"]}

        async def act(session: Session) -> list[tuple[datetime, Claimed]]:
            rows = await session.fetch(sql, *arguments)
            ids = [row["id"] for row in rows]
            found = await open_payloads(session, ids, actor, Purpose.REPLAY, about)
            return [(row["failed_at"], _claimed(row, found[row["id"]])) for row in rows]

        return sorted(await self._transactions.run(act), key=lambda each: (each[0], each[1].id))

    async def identify(self, parked: Iterable[Prepared]) -> None:
        """Write into the dead letters of parked messages which tokens they are about."""
        known = [
            {
                "id": each.letter.id,
                "seller": each.key.seller,
                "token_sha256": "\\x" + each.key.sha256.hex(),
                "message_id": each.message.message_id,
            }
            for each in parked
        ]
        await self._transactions.run(lambda session: session.fetch(_IDENTIFY, document(known)))

    async def published(self, replay: int, ids: Sequence[int]) -> None:
        """Mark dead letters as published, and note it in their history."""
        await self._transactions.run(
            lambda session: session.fetch(_PUBLISHED, replay, json.dumps(ids))
        )

    async def release(self, replay: int, ids: Sequence[int], kind: str, why: str) -> None:
        """Release claims of which nothing was published; `kind` is `released` or `refused`."""
        given = json.dumps(ids)
        await self._transactions.run(
            lambda session: session.fetch(_RELEASE, replay, given, kind, why)
        )

    async def holders(self, selection: Selection, replay: int) -> list[Holder]:
        """Return the other running replays that have claims on dead letters that were chosen."""
        rows = await self._transactions.chosen(_HOLDERS, selection, {"replay": replay})
        return [Holder(*row) for row in rows]

    async def outcomes(self, ids: Sequence[int]) -> list[Result]:
        """Return the outcomes of dead letters that were replayed, of those that have one by now."""

        async def act(session: Session) -> list[Any]:
            given = json.dumps(ids)
            await session.fetch(_RECONCILE, given)
            return await session.fetch(_OUTCOMES, given)

        return [Result(*row) for row in await self._transactions.run(act)]

    async def reconcile(self) -> None:
        """Update replayed dead letters by what the ledger has since recorded of their tokens."""
        await self._transactions.run(lambda session: session.fetch(_RECONCILE, None))

    # --- discarding, sealing again ---

    async def record(self, entry: audit.Entry) -> datetime:
        """Write an entry into the audit; return the database's time."""

        async def act(session: Session) -> datetime:
            await audit.record(session, entry)
            (row,) = await session.fetch("SELECT clock_timestamp() AS now")
            now: datetime = row["now"]
            return now

        return await self._transactions.run(act)

    async def discardable(self, selection: Selection) -> int:
        """Return how many dead letters `discard` would take."""
        (row,) = await self._transactions.chosen(
            _COUNT_DISCARDABLE, selection, {}, discardable=_DISCARDABLE
        )
        count: int = row["letters"]
        return count

    async def discard(
        self, selection: Selection, actor: Actor, *, failed_until: datetime, after: int, most: int
    ) -> list[int]:
        """Discard a batch of open dead letters; return their ids in order."""
        given = {
            "after": after,
            "failed_until": failed_until,
            "most": most,
            "actor": actor.name,
            "reason": actor.reason,
        }
        rows = await self._transactions.chosen(_DISCARD, selection, given, discardable=_DISCARDABLE)
        return sorted(row["letter_id"] for row in rows)

    async def key_uses(self) -> list[KeyUse]:
        """Return how many payloads are sealed to which key."""
        return [KeyUse(*row) for row in await self._transactions.run(lambda s: s.fetch(_KEYS))]

    async def reseal(
        self,
        key_id: str,
        actor: Actor,
        after: int,
        most: int,
        seal: Callable[[SealedPayload], bytes | None],
    ) -> list[SealedPayload]:
        """Seal a batch again; return the dead letters looked at, none at the end.

        Args:
            key_id: The key to seal to.
            actor: Who, and why.
            after: Id of the last dead letter of the previous batch.
            most: How many in a batch.
            seal: Returns what replaces a payload; None to leave it.
        """

        async def act(session: Session) -> list[SealedPayload]:
            rows = await session.fetch(_RESEAL_CHOOSE, key_id, after, most)
            ids = [row["id"] for row in rows]
            found = await open_payloads(session, ids, actor, Purpose.RESEAL, {"key": key_id})
            letters = [found[letter] for letter in ids]
            sealed = [
                {"id": letter.id, "sealed": "\\x" + box.hex()}
                for letter in letters
                if (box := seal(letter)) is not None
            ]
            if sealed:
                await session.fetch(_RESEAL, document(sealed), key_id, *actor)
            return letters

        return await self._transactions.run(act)


@asynccontextmanager
async def acting(connect: Connect) -> AsyncIterator[DeadLetterCommands]:
    """Open connections for commands on dead letters, until the block ends."""
    letters = DeadLetterCommands(connect)
    try:
        yield letters
    finally:
        await letters.close()


def _claimed(row: Any, payload: SealedPayload) -> Claimed:
    *members, _ = row
    members += [payload.sealed or b"", payload.body_sha256]
    return Claimed(*members)


def _forecast(row: Any) -> Forecast:
    group, reason, error_code, eligibility, letters, first_expiry = row
    return Forecast(
        group or "", reason, error_code, Eligibility(eligibility), letters, first_expiry
    )
