"""Outcomes into the ledger, in batches: one transaction, then each learns what the ledger has."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff, batching, holds
from worker.core.exceptions import LedgerUnavailable, RowsRefused
from worker.core.records import Batch, DeadLetter, Malformed, Outcome
from worker.core.token import refused_rows
from worker.core.token.refused_rows import KeptAs, Part, Parts
from worker.runtime.pending import Pending
from worker.runtime.token.batch_queue import BatchQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.core.records import TokenKey
    from worker.ports import Ledger, Telemetry
    from worker.runtime.gate import Gate

log: Final = structlog.get_logger()


@dataclass(slots=True, eq=False)
class PendingWrite:
    """What is to be written of one message, and whom to tell once it is committed.

    Attributes:
        committed: Called once it is committed, with what the ledger has of the token now.
        refused: Called instead if the database takes no dead letter of the message, with its words
            and what the ledger has of the token now: the message must be kept elsewhere.
        smaller: What to leave out, one try after another, if the database refuses this very write
            for its data.
        unstored: Makes the dead letter of a message whose outcome the ledger refuses, by the
            database's words; of what fails that is `letter`.
        letter: Makes the dead letter that goes with it, sealed. Not before it is written: sealed
            and written as text a message takes several times its size.
        size: Of that message, in bytes.
        wanted: Whether it is still to be written. A message without an outcome is written again
            when the broker hands it out anew, and must not pile up here meanwhile.
    """

    committed: Callable[[Outcome | None], None]
    refused: Callable[[str, Outcome | None], None]
    smaller: Iterator[Parts] = field(default_factory=lambda: iter(()))
    wanted: Callable[[], bool] = lambda: True
    outcome: Outcome | None = None
    letter: Callable[[], DeadLetter] | None = None
    size: int = 0
    malformed: Malformed | None = None
    unstored: Callable[[str], DeadLetter] | None = None

    @property
    def names(self) -> dict[str, str]:
        """By what its row can be found, for the log."""
        if self.outcome is not None:
            key = self.outcome.key
            return {"fingerprint": key.fingerprint, "message_id": self.outcome.message_id}
        return {} if self.malformed is None else {"message_id": self.malformed.message_id}


class Writer:
    """Collects writes and commits them.

    A database that can't write keeps everything waiting here, and calls stop until it can.

    Args:
        ledger: Where to.
        gate: Shut while the ledger is unavailable.
        telemetry: Told of each batch.
    """

    def __init__(self, ledger: Ledger, gate: Gate, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._gate = gate
        self._telemetry = telemetry
        self._writes: BatchQueue[PendingWrite] = BatchQueue()
        self.pending = Pending()

    def put(self, write: PendingWrite) -> None:
        """Write this with the next batch."""
        self.pending.add(1)
        self._writes.put(write)

    def drop_unwanted(self) -> None:
        """Forget what needs no writing any more, instead of keeping it until its turn comes."""
        self.pending.add(-self._writes.drop(lambda write: not write.wanted()))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._write(await self._writes.batch())

    async def _write(self, writes: Sequence[PendingWrite]) -> None:
        """Commit a batch whole or, if a row of it is poison, in halves; large ones in portions."""
        wanted = [write for write in writes if write.wanted()]
        self.pending.add(len(wanted) - len(writes))
        for portion in batching.portions(wanted, _letter_bytes):
            await self._write_wanted(portion)

    async def _write_wanted(self, writes: Sequence[PendingWrite]) -> None:
        try:
            stored = await self._commit(_batch(writes))
        except RowsRefused as error:
            if len(writes) == 1:
                await self._write_less(writes[0], str(error))
                return
            for half in batching.halves(writes):
                await self._write(half)
            return
        self.pending.add(-len(writes))
        for write in writes:
            write.committed(stored.get(write.outcome.key) if write.outcome else None)

    async def _write_less(self, write: PendingWrite, words: str) -> None:
        """Commit what the database takes of a write that it refused, and tell what it did not."""
        stored: Mapping[TokenKey, Outcome] = {}
        left_out: Parts = frozenset()
        kept_as = KeptAs.PARKED
        for left_out in write.smaller:
            try:
                stored = await self._commit(_batch_without(write, left_out, words))
            except RowsRefused as error:
                words = str(error)
                continue
            kept_as = refused_rows.kept_as(left_out)
            break
        names = {"left_out": sorted(left_out), **write.names}
        log.error("row_refused", reason=words, kept_as=kept_as.value, **names)
        self._telemetry.row_refused(kept_as)
        self.pending.add(-1)
        stands = stored.get(write.outcome.key) if write.outcome else None
        if kept_as is KeptAs.PARKED:
            write.refused(words, stands)
        else:
            write.committed(stands)

    async def _commit(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit, however long the database is away; the batch may be given twice."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                stored = await self._ledger.settle(batch)
            except LedgerUnavailable as error:
                failures += 1
                await self._unavailable(error, failures)
                continue
            except RowsRefused:
                self._gate.release(holds.LEDGER)  # it has answered
                raise
            self._gate.release(holds.LEDGER)
            rows = len(batch.outcomes) + len(batch.malformed)
            self._telemetry.written(rows, asyncio.get_running_loop().time() - began)
            return stored

    async def _unavailable(self, error: LedgerUnavailable, failures: int) -> None:
        self._gate.hold(holds.LEDGER, str(error))
        delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
        log.error("ledger_unavailable", reason=str(error), again_in_seconds=round(delay, 2))
        await asyncio.sleep(delay)


def _letter_bytes(write: PendingWrite) -> int:
    return write.size if write.letter else 0


def _batch(writes: Sequence[PendingWrite]) -> Batch:
    return Batch(
        outcomes=tuple(write.outcome for write in writes if write.outcome),
        letters=tuple(write.letter() for write in writes if write.letter),
        malformed=tuple(write.malformed for write in writes if write.malformed),
    )


def _batch_without(write: PendingWrite, left_out: Parts, words: str) -> Batch:
    outcome, malformed, letter = write.outcome, write.malformed, write.letter
    if Part.RECORD in left_out:
        outcome = malformed = None
        if write.unstored is not None:
            letter = partial(write.unstored, words)
    return Batch(
        outcomes=(refused_rows.outcome_without(outcome, left_out),) if outcome else (),
        letters=(refused_rows.letter_without(letter(), left_out),)
        if letter and Part.LETTER not in left_out
        else (),
        malformed=(refused_rows.malformed_without(malformed, left_out),) if malformed else (),
        books=Part.BOOKS not in left_out,
        closing=Part.CLOSING not in left_out,
    )
