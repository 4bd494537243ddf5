"""Outcomes into the ledger: batches, poison, outages."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.fakes.clock import leaping, settle
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import FakeTelemetry
from tests.fakes.records import NOW, body, incoming, outcome, submission
from worker.core.batching import MOST_BATCH_BYTES
from worker.core.dead_letters.records import Sealed, of_outcome
from worker.core.records import Malformed, Outcome, Status
from worker.core.token.submissions import parse
from worker.runtime.gate import Gate
from worker.runtime.token.writer import PendingWrite, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.records import DeadLetter


@dataclass
class Desk:
    """A writer at work, and what became of the entries."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    gate: Gate = field(default_factory=Gate)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    stood: dict[str, Outcome | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the writer."""
        self.writer = Writer(self.ledger, self.gate, self.telemetry)

    def put(self, token: str, status: Status = Status.DEAD) -> None:
        """Have an outcome written."""
        given = outcome(status, submission(token, message_id=token))
        self.writer.put(
            PendingWrite(
                committed=lambda stored: self.stood.__setitem__(token, stored),
                refused=lambda words, _: self.refused.__setitem__(token, words),
                outcome=given,
            )
        )


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    """A desk with its writer running."""
    desk = Desk()
    task = asyncio.create_task(desk.writer.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.wait([task])


def key(token: str) -> object:
    """What names a token in the ledger."""
    return submission(token).key


@leaping
async def test_an_idle_writer_commits_at_once() -> None:
    """A single outcome is committed without waiting for others."""
    async with open_desk() as desk:
        desk.put("a")
        await desk.writer.pending.none()
        assert asyncio.get_running_loop().time() == 0.0
        assert desk.stood["a"] == desk.ledger.outcomes[submission("a").key]
        assert desk.telemetry.batches == [1]


@leaping
async def test_a_busy_writer_fills_its_batches() -> None:
    """A thousand outcomes are committed in five full batches, and each learns what stands."""
    async with open_desk() as desk:
        for number in range(1_000):
            desk.put(f"t{number}")
        await desk.writer.pending.none()
        assert desk.telemetry.batches == [200] * 5
        assert len(desk.stood) == 1_000


@leaping
async def test_an_entry_learns_what_stands_and_not_what_was_meant() -> None:
    """Where a resolved outcome stands already a failure that comes later is told of that one."""
    async with open_desk() as desk:
        known = outcome(asked=submission("a"), product_code="p", customer_identifier="c")
        desk.ledger.outcomes[known.key] = known
        desk.put("a")
        await desk.writer.pending.none()
        assert desk.stood["a"] == known


@leaping
async def test_what_nobody_wants_any_more_is_not_written() -> None:
    """An entry whose message the broker hands out anew makes room for the one that comes then."""
    async with open_desk() as desk:
        desk.ledger.outage = "away"
        desk.put("a")
        await settle()
        stale = PendingWrite(
            committed=lambda _: desk.stood.__setitem__("stale", None),
            refused=lambda words, _: desk.refused.__setitem__("stale", words),
            outcome=outcome(Status.DEAD, submission("stale")),
            wanted=lambda: False,
        )
        desk.writer.put(stale)
        desk.ledger.outage = None
        await desk.writer.pending.none()
        assert set(desk.stood) == {"a"}
        assert desk.refused == {}


@leaping
async def test_a_ledger_that_refuses_a_row_has_answered() -> None:
    """After an outage calls go on, even if all that waited is refused for its data."""
    async with open_desk() as desk:
        desk.ledger.outage = "away"
        desk.ledger.is_poison = lambda _: True
        desk.put("a")
        await settle()
        assert desk.gate.reasons
        desk.ledger.outage = None
        await desk.writer.pending.none()
        assert set(desk.refused) == {"a"}
        assert desk.gate.reasons == {}


@pytest.mark.parametrize("poisoned", [{0}, {199}, {77}, {3, 4, 150}, set(range(0, 200, 7))])
def test_poison_is_isolated(poisoned: set[int]) -> None:
    """Of 200 rows the database refuses those it must, and the others are settled all the same."""

    @leaping
    async def run() -> None:
        async with open_desk() as desk:
            keys = {submission(f"t{number}").key for number in poisoned}
            desk.ledger.is_poison = lambda each: each.key in keys
            for number in range(200):
                desk.put(f"t{number}")
            await desk.writer.pending.none()
            assert set(desk.refused) == {f"t{number}" for number in poisoned}
            assert len(desk.stood) == 200 - len(poisoned)
            assert all(stored is not None for stored in desk.stood.values())
            assert len(desk.ledger.outcomes) == 200 - len(poisoned)
            assert desk.gate.reasons == {}

    run()


@leaping
async def test_one_poison_row_costs_few_statements() -> None:
    """A poison row among 200 is found in a number of commits that grows with the logarithm."""
    async with open_desk() as desk:
        tries = 0
        poison = submission("t77").key
        settle_ = desk.ledger.settle

        async def counted(batch: object) -> object:
            nonlocal tries
            tries += 1
            return await settle_(batch)  # type: ignore[arg-type]

        desk.ledger.settle = counted  # type: ignore[method-assign, assignment]
        desk.ledger.is_poison = lambda each: each.key == poison
        for number in range(200):
            desk.put(f"t{number}")
        await desk.writer.pending.none()
        assert tries <= 2 * 8 + 1


@leaping
async def test_an_outage_loses_nothing() -> None:
    """While the database can't write the gate is shut and all is kept; then all is written."""
    async with open_desk() as desk:
        desk.ledger.outage = "the disk is full"
        for number in range(300):
            desk.put(f"t{number}")
        await asyncio.sleep(60)
        desk.put("late")
        assert desk.gate.reasons == {"ledger": "the disk is full"}
        assert (desk.stood, desk.refused) == ({}, {})
        assert desk.writer.pending.count == 301
        desk.ledger.outage = None
        await desk.writer.pending.none()
        assert len(desk.stood) == len(desk.ledger.outcomes) == 301
        assert desk.gate.reasons == {}


@leaping
async def test_an_outage_is_over_soon_after_it_is_over() -> None:
    """The database is tried at intervals of at most five seconds, however long it was away."""
    async with open_desk() as desk:
        desk.ledger.outage = "down"
        desk.put("a")
        await asyncio.sleep(600)
        desk.ledger.outage = None
        over = asyncio.get_running_loop().time()
        await desk.writer.pending.none()
        assert asyncio.get_running_loop().time() - over <= 5.0


@leaping
async def test_an_outage_in_the_middle_of_a_bisection_is_survived() -> None:
    """A database that goes away while poison is searched for is waited for, and nothing is lost."""
    async with open_desk() as desk:
        poison = submission("t9").key
        desk.ledger.is_poison = lambda each: each.key == poison
        settle_, tries = desk.ledger.settle, 0

        async def faltering(batch: object) -> object:
            nonlocal tries
            tries += 1
            desk.ledger.outage = "down" if tries in {2, 3, 6} else None
            return await settle_(batch)  # type: ignore[arg-type]

        desk.ledger.settle = faltering  # type: ignore[method-assign, assignment]
        for number in range(50):
            desk.put(f"t{number}")
        await desk.writer.pending.none()
        assert set(desk.refused) == {"t9"}
        assert len(desk.stood) == 49


@leaping
async def test_malformed_messages_and_letters_are_written_too() -> None:
    """An entry without an outcome is committed, and learns that it stands."""
    async with open_desk() as desk:
        bad, _ = parse(incoming(b"x"), NOW)
        assert isinstance(bad, Malformed)
        told: list[object] = []
        desk.writer.put(PendingWrite(committed=told.append, refused=lambda *_: None, malformed=bad))
        await desk.writer.pending.none()
        await settle()
        assert told == [None]
        assert list(desk.ledger.malformed.values()) == [bad]


# --- large messages ---


def letter_entry(desk: Desk, token: str, size: int, made: list[str]) -> PendingWrite:
    """What is to be written of a message of a size, and when its letter was made."""
    refused = incoming(body(token, x="y" * size))
    given = outcome(Status.DEAD, submission(token))

    def letter() -> DeadLetter:
        made.append(token)
        return of_outcome(given, submission(token), refused, "live", Sealed("k", refused.body))

    return PendingWrite(
        committed=lambda stored: desk.stood.__setitem__(token, stored),
        refused=lambda words, _: desk.refused.__setitem__(token, words),
        outcome=given,
        letter=letter,
        size=size,
    )


@leaping
async def test_large_letters_are_made_and_written_a_few_at_a_time() -> None:
    """What waits to be written is not sealed yet; a transaction holds a megabyte of messages."""
    made: list[str] = []
    async with open_desk() as desk:
        desk.ledger.outage = "away"
        for number in range(40):
            desk.writer.put(letter_entry(desk, f"t{number}", MOST_BATCH_BYTES // 8, made))
        await asyncio.sleep(0.1)
        assert len(made) == 8
        desk.ledger.outage = None
        await desk.writer.pending.none()
    assert len(desk.stood) == len(desk.ledger.letters) == len(made) == 40
    assert max(len(batch.letters) for batch in desk.ledger.batches) == 8


@leaping
async def test_what_nobody_wants_any_more_is_forgotten_at_once() -> None:
    """While the ledger is away, nothing is kept of messages that the broker hands out anew."""
    async with open_desk() as desk:
        desk.ledger.outage = "away"
        desk.put("a")
        await settle()
        wanted = True
        for number in range(5):
            entry = letter_entry(desk, f"t{number}", 100, [])
            entry.wanted = lambda: wanted
            desk.writer.put(entry)
        desk.put("b")
        wanted = False
        assert desk.writer.pending.count == 7
        desk.writer.drop_unwanted()
        assert desk.writer.pending.count == 2
        desk.ledger.outage = None
        await desk.writer.pending.none()
        assert set(desk.stood) == {"a", "b"}
