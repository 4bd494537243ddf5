"""Overtaken tokens on their way aside: nothing is lost, doubled or held up, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping, settle
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import (
    FakeDelivery,
    FakePublisher,
    FakeSealer,
    FakeTelemetry,
    acking,
)
from tests.fakes.records import NOW, POLICY, body, submission
from worker.core.records import Lane, Submission
from worker.core.timestamps import format_time
from worker.core.token.incoming import Incoming
from worker.core.token.submissions import parse
from worker.runtime.clock import Clock
from worker.runtime.gate import Gate
from worker.runtime.token.demotion import Demoter, buyers_wait
from worker.runtime.token.in_flight import InFlight, InFlightToken, Stage, Waiter
from worker.runtime.token.settlement import Settlement
from worker.runtime.token.waiting import WaitingRoom
from worker.runtime.token.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.token.outgoing import Outgoing

PATIENCE = 30.0
NUMBERS = itertools.count()


@dataclass
class Room:
    """The part of a pipeline in which tokens wait, and an demoter at work in it.

    Attributes:
        limited: Whether calls wait for permits.
        behind: How long whoever comes now will wait in the queue, in seconds.
    """

    limited: bool = True
    behind: float = 0.0
    gate: Gate = field(default_factory=Gate)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    in_flight: InFlight = field(default_factory=InFlight)
    waiting: WaitingRoom = field(default_factory=WaitingRoom)

    def __post_init__(self) -> None:
        self.acks = acking(self.publisher, self.telemetry)
        self.settlement = Settlement(
            in_flight=self.in_flight,
            writer=Writer(FakeLedger(), self.gate, self.telemetry),
            acks=self.acks,
            sealer=FakeSealer(),
            policy=POLICY,
            telemetry=self.telemetry,
            clock=Clock(lambda: None),
        )
        self.demoter = Demoter(
            waiting=self.waiting,
            in_flight=self.in_flight,
            settlement=self.settlement,
            gate=self.gate,
            limits=lambda: self.limited,
            rate=lambda: 10.0,
            behind_seconds=lambda: self.behind,
            patience_seconds=PATIENCE,
            clock=Clock(lambda: None),
        )

    def enter(
        self, token: str, waited: float, *, lane: Lane = Lane.LIVE, attempts: int = 0
    ) -> Waiter:
        """A message of a token arrives, whose buyer has waited so long, and stands in line."""
        received_at = datetime.now(UTC) - timedelta(seconds=waited)
        content = body(token, received_at=format_time(received_at))
        incoming = Incoming(content, message_id=f"m-{next(NUMBERS)}", correlation_id="c")
        parsed, _ = parse(incoming, datetime.now(UTC))
        assert isinstance(parsed, Submission)
        now = asyncio.get_running_loop().time()
        waiter = Waiter(parsed, FakeDelivery(incoming, lane, now), lane)
        begun = self.in_flight.join(waiter)
        if begun is None:
            joined = self.in_flight.of(parsed.key)
            assert joined is not None
            self.waiting.promote(joined)
        else:
            begun.attempts = attempts
            self.waiting.join(begun)
        return waiter

    def line(self, lane: Lane = Lane.LIVE) -> list[str]:
        """The tokens in a line."""
        return [token_of(token) for token in self.waiting.waiting_in(lane)]

    @property
    def moved(self) -> list[Outgoing]:
        """What went into the backlog lane."""
        return [sent for sent in self.publisher.sent if sent.routing_key == "backlog"]


def token_of(token: InFlightToken) -> str:
    """The token of a token."""
    return token.leader.submission.token.value


def acks(*waiters: Waiter) -> list[int]:
    """How often each was acked."""
    return [waiter.delivery.acks for waiter in waiters if isinstance(waiter.delivery, FakeDelivery)]


@asynccontextmanager
async def working() -> AsyncIterator[Room]:
    """A room with its demoter and its acks at work."""
    room = Room()
    tasks = [asyncio.create_task(room.demoter.run()), asyncio.create_task(room.acks.run())]
    try:
        yield room
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


# --- the move ---


@leaping
async def test_overtaken_tokens_go_to_the_backlog_with_all_that_was_known() -> None:
    """Past the patience old tokens move, confirmed before acked; age and attempts go with them."""
    async with working() as room:
        old, younger = room.enter("old", 31, attempts=2), room.enter("younger", 6)
        fresh = room.enter("fresh", 1)
        await asyncio.sleep(1)
        assert room.line() == ["fresh"]
        assert acks(old, younger, fresh) == [1, 1, 0]
        message = room.moved[0]
        assert (message.exchange, message.routing_key) == ("resolution.internal", "backlog")
        assert message.mandatory
        assert (message.message_id, message.correlation_id) == (old.submission.message_id, "c")
        assert message.body == old.delivery.incoming.body
        read, _ = parse(
            Incoming(message.body, headers=message.headers, internal=True), datetime.now(UTC)
        )
        assert isinstance(read, Submission)
        assert read.attempts == 2
        assert abs(read.received_at - old.submission.received_at) < timedelta(milliseconds=1)
        assert abs(read.first_seen - old.submission.first_seen) < timedelta(milliseconds=1)
        assert room.telemetry.submissions == {Lane.LIVE: 2}
        assert len(room.in_flight) == 1


@leaping
async def test_who_came_first_makes_room_for_a_queue_behind() -> None:
    """Before a long queue only those stay who are called for within a sixth, the latest of all."""
    async with working() as room:
        names = [f"t{number}" for number in range(80)]
        for name in names:
            room.enter(name, 0)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert room.moved == []
        room.behind = 31.0
        await asyncio.sleep(1)
        assert room.line() == names[30:]
        room.behind = 0.0
        room.enter("next", 0)
        await asyncio.sleep(1)
        assert room.line() == [*names[30:], "next"]


@leaping
async def test_nothing_is_acked_before_it_is_confirmed() -> None:
    """While the broker has not confirmed a move its delivery is not acked."""
    async with working() as room:
        room.publisher.latency = 2.0
        old = room.enter("old", 31)
        await asyncio.sleep(1.9)
        assert (acks(old), room.line(), len(room.in_flight)) == ([0], [], 0)
        await asyncio.sleep(0.5)
        assert acks(old) == [1]


@leaping
@pytest.mark.parametrize("why", ["no limit", "aws", "pause", "ledger"])
async def test_nobody_moves_unless_the_quota_is_the_limit(why: str) -> None:
    """While calls wait for anything but permits, tokens keep their places, however old."""
    async with working() as room:
        room.limited = why != "no limit"
        if why != "no limit":
            room.gate.hold(why, "for the test")
        room.enter("old", 3_600)
        await asyncio.sleep(60)
        assert (room.line(), room.moved) == (["old"], [])
        room.limited = True
        room.gate.release(why)
        await asyncio.sleep(1)
        assert (room.line(), len(room.moved)) == ([], 1)


@leaping
async def test_a_moment_without_waiting_does_not_stop_it() -> None:
    """At a high rate a look may find nobody waiting for a permit; what was so lately counts."""
    async with working() as room:
        room.enter("first", 31)
        await asyncio.sleep(0.1)
        room.limited = False
        room.enter("second", 31)
        await asyncio.sleep(0.5)
        assert len(room.moved) == 2


@leaping
async def test_thousands_move_in_seconds() -> None:
    """What is moved makes room at once for more, and no look waits for a permit."""
    async with working() as room:
        room.publisher.latency = 0.02
        for number in range(20):
            waiters = [room.enter(f"t{number}-{each}", 31) for each in range(300)]
            for waiter in waiters:
                assert isinstance(waiter.delivery, FakeDelivery)
                await waiter.delivery.acked.wait()
        assert len(room.moved) == 6_000
        assert asyncio.get_running_loop().time() < 3


@leaping
async def test_the_backlog_lane_and_replays_stay() -> None:
    """Old tokens of the backlog lane stay, and so do on-call's canaries, which start nothing."""
    async with working() as room:
        room.enter("bulk", 3_600, lane=Lane.BACKLOG)
        canary = room.enter("canary", 3_600)
        object.__setattr__(canary.submission, "replay", NOW)
        room.enter("younger", 6)
        await asyncio.sleep(1)
        assert (room.line(), room.line(Lane.BACKLOG)) == (["canary", "younger"], ["bulk"])
        room.enter("old", 31)
        await asyncio.sleep(1)
        assert room.line() == ["canary"]


def test_the_latest_buyer_counts() -> None:
    """Of several submissions of a token the wait of the buyer who came last counts."""

    def waiter(seconds: float, lane: Lane = Lane.LIVE) -> Waiter:
        asked = submission(received_at=NOW - timedelta(seconds=seconds), first_seen=NOW)
        return Waiter(asked, FakeDelivery(Incoming(b""), lane), lane)

    def wait(*waiters: Waiter) -> float | None:
        return buyers_wait(InFlightToken(submission().key, list(waiters)), NOW)

    assert wait(waiter(40)) == 40
    assert wait(waiter(40), waiter(3), waiter(20)) == 3
    assert wait(waiter(1, Lane.BACKLOG), waiter(40)) == 40
    assert wait(waiter(1, Lane.BACKLOG)) is None
    assert wait() is None


@leaping
async def test_who_comes_back_from_a_retry_begins_nothing() -> None:
    """A token's time in a retry queue is no overload of the line; in one it gives way like all."""
    async with working() as room:
        returned = room.enter("returned", 150)
        object.__setattr__(returned.submission, "returns", 2)
        room.enter("younger", 6)
        await asyncio.sleep(60)
        assert room.line() == ["returned", "younger"]
        room.enter("old", 31)
        await asyncio.sleep(1)
        assert room.line() == []


@leaping
async def test_a_buyer_who_asks_again_stays_in_line() -> None:
    """A token that a buyer has just asked for anew keeps its place, and its old copy with it."""
    async with working() as room:
        room.enter("asked-again", 31)
        room.enter("asked-again", 0)
        room.enter("old", 31)
        await asyncio.sleep(1)
        assert (room.line(), len(room.moved)) == (["asked-again"], 1)


@leaping
async def test_bulk_copies_stay_and_stand_in_their_own_line() -> None:
    """Of a token that bulk and buyer share the buyer's message moves; the bulk copy waits on."""
    async with working() as room:
        bulk = room.enter("shared", 60, lane=Lane.BACKLOG)
        await asyncio.sleep(0.1)
        room.enter("later-bulk", 1, lane=Lane.BACKLOG)
        buyer = room.enter("shared", 31)
        assert room.line() == ["shared"]
        await asyncio.sleep(1)
        assert (room.line(), room.line(Lane.BACKLOG)) == ([], ["shared", "later-bulk"])
        assert acks(bulk, buyer) == [0, 1]


@leaping
async def test_a_change_of_patience_is_felt() -> None:
    """A shorter patience moves who stands in line already."""
    async with working() as room:
        room.enter("t", 10)
        await asyncio.sleep(5)
        assert room.moved == []
        room.demoter.change(9.0)
        await asyncio.sleep(1)
        assert len(room.moved) == 1


@leaping
async def test_a_stretch_is_told_once() -> None:
    """One line says that moving began, and one how many moved, once it is over."""
    with capture_logs() as lines:
        async with working() as room:
            for number in range(5):
                room.enter(f"t{number}", 31)
                await asyncio.sleep(1)
            await asyncio.sleep(60)
    told = [(line["event"], line["log_level"]) for line in lines]
    assert told == [("demotion_began", "info"), ("demotion_ended", "info")]
    assert lines[1]["submissions"] == 5


# --- what may happen meanwhile ---


@leaping
async def test_what_is_refused_goes_back_to_its_place() -> None:
    """A full backlog gives tokens back to their places; moving rests, and then tries with one."""
    with capture_logs() as lines:
        async with working() as room:
            room.publisher.refuses = lambda each: each.routing_key == "backlog"
            waiters = [room.enter(f"t{number}", 40 - number) for number in range(9)]
            await asyncio.sleep(1)
            room.enter("t9", 1)
            assert room.line() == [f"t{number}" for number in range(10)]
            assert acks(*waiters) == [0] * 9
            assert len(room.publisher.tried) == 9
            assert room.acks.pending.count == 0
            await asyncio.sleep(8)
            assert len(room.publisher.tried) == 9
            await asyncio.sleep(2)
            assert len(room.publisher.tried) == 10
            room.publisher.refuses = lambda _: False
            await asyncio.sleep(18)
            assert len(room.publisher.tried) == 10
            await asyncio.sleep(4)
            assert sum(acks(*waiters)) == 9
            assert len(room.publisher.tried) == 19
    held = [line for line in lines if line["event"] == "demotion_held"]
    assert [(line["log_level"], line["again_in_seconds"]) for line in held] == [
        ("warning", 10),
        ("warning", 20),
    ]


@leaping
async def test_who_returns_is_called_for() -> None:
    """A token that could not move has its turn as if nothing had been, once and not twice."""
    async with working() as room:
        room.publisher.refuses = lambda _: True
        room.enter("a", 40)
        room.enter("b", 39)
        await asyncio.sleep(35)
        turns = [room.waiting.next() for _ in range(3)]
        assert [token_of(token) for token in turns if token] == ["a", "b"]


@leaping
async def test_a_copy_that_comes_during_the_move_is_on_its_own() -> None:
    """A buyer who asks while the old message moves need not wait for that."""
    async with working() as room:
        room.publisher.latency = 5.0
        old = room.enter("t", 31)
        await asyncio.sleep(1)
        copy = room.enter("t", 0)
        assert room.line() == ["t"]
        await asyncio.sleep(5)
        assert acks(old, copy) == [1, 0]
        assert room.line() == ["t"]
        assert len(room.in_flight) == 1


@leaping
@pytest.mark.parametrize("stage", list(Stage))
async def test_what_is_refused_joins_a_copy_that_came_meanwhile(stage: Stage) -> None:
    """A message that could not move shares the token of a copy, however far that has come."""
    async with working() as room:
        room.publisher.latency = 5.0
        room.publisher.refuses = lambda _: True
        old = room.enter("t", 31, attempts=3)
        await asyncio.sleep(1)
        copy = room.enter("t", 0)
        standing = room.in_flight.of(copy.submission.key)
        assert standing is not None
        standing.stage = stage
        if stage is not Stage.WAITING:
            room.waiting.leave(standing)
        await asyncio.sleep(5)
        assert standing.waiters == [copy, old]
        assert (standing.stage, standing.attempts) == (stage, 3)
        assert room.line() == (["t"] if stage is Stage.WAITING else [])
        assert acks(old, copy) == [0, 0]


@leaping
async def test_what_is_refused_takes_a_bulk_copy_into_the_live_line() -> None:
    """A buyer's message that could not move makes its token a live one again."""
    async with working() as room:
        room.publisher.refuses = lambda _: True
        room.enter("other", 1)
        room.enter("t", 60, lane=Lane.BACKLOG)
        room.enter("t", 31)
        await asyncio.sleep(1)
        assert (room.line(), room.line(Lane.BACKLOG)) == (["other", "t"], [])
        assert len(room.publisher.tried) == 1


@leaping
@pytest.mark.parametrize("refused", [True, False])
async def test_a_delivery_that_dies_during_its_move_is_forgotten(*, refused: bool) -> None:
    """For a delivery that the broker hands out anew nothing is done, confirmed or refused."""
    async with working() as room:
        room.publisher.latency = 5.0
        room.publisher.refuses = lambda _: refused
        old = room.enter("t", 31)
        await asyncio.sleep(1)
        assert isinstance(old.delivery, FakeDelivery)
        old.delivery.alive = False
        room.in_flight.drop_dead()
        await asyncio.sleep(6)
        assert (acks(old), len(room.in_flight), room.line()) == ([0], 0, [])
        assert room.acks.pending.count == 0
        assert room.telemetry.submissions == {}


@leaping
async def test_a_drain_waits_for_moves_and_gives_back_what_is_refused() -> None:
    """What is refused while the worker drains goes back to the live lane, before the drain ends."""
    async with working() as room:
        room.publisher.latency = 5.0
        room.publisher.refuses = lambda each: each.routing_key == "backlog"
        old = room.enter("t", 31)
        await asyncio.sleep(1)
        room.gate.hold("drain", "the worker is shutting down")
        await room.acks.pending.none()
        assert acks(old) == [1]
        (sent,) = room.publisher.sent
        assert (sent.exchange, sent.routing_key) == ("resolution.internal", "token")
        assert (len(room.in_flight), room.line()) == (0, [])


@leaping
async def test_what_is_given_back_or_moved_is_so_once() -> None:
    """Giving back all that is in hand leaves alone what is under way to the backlog."""
    async with working() as room:
        room.publisher.latency = 5.0
        old, shared = room.enter("old", 31), room.enter("shared", 31)
        bulk = room.enter("shared", 60, lane=Lane.BACKLOG)
        await asyncio.sleep(1)
        for token in room.in_flight:
            room.settlement.give_back(token, token.waiters)
        await asyncio.sleep(11)
        assert acks(old, shared, bulk) == [1, 1, 1]
        assert [sent.routing_key for sent in room.publisher.sent] == ["backlog"] * 3
        assert len(room.in_flight) == 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_message_leaves_once(seed: int) -> None:
    """Among refusals, copies, bulk, turns and losses nothing is acked twice or forgotten."""

    @leaping
    async def run() -> None:
        chance = random.Random(seed)
        async with working() as room:
            room.publisher.refuses = lambda each: (
                each.routing_key == "backlog" and chance.random() < 0.3
            )
            waiters = []
            for _ in range(400):
                room.publisher.latency = chance.choice([0.0, 0.05, 3.0])
                lane = chance.choice([Lane.LIVE, Lane.LIVE, Lane.BACKLOG])
                waited = chance.choice([0, 6, 31])
                waiters.append(room.enter(f"t{chance.randrange(60)}", waited, lane=lane))
                if chance.random() < 0.4 and (token := room.waiting.next()):
                    assert token.waiters
                    token.stage = Stage.CALLING
                    room.settlement.give_back(token, token.waiters)
                await asyncio.sleep(chance.choice([0, 0.01, 0.3]))
            room.publisher.refuses = lambda _: False
            room.gate.hold("end", "of the test")
            await asyncio.sleep(90)
            for token in room.in_flight:
                room.settlement.give_back(token, token.waiters)
            await room.acks.pending.none()
            assert acks(*waiters) == [1] * 400
            assert len(room.publisher.sent) == 400
            assert (len(room.in_flight), room.line(), room.line(Lane.BACKLOG)) == (0, [], [])

    run()


@leaping
async def test_it_looks_at_an_empty_line_only_when_somebody_comes() -> None:
    """With nobody in line the demoter sleeps until somebody is."""
    async with working() as room:
        await settle()
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled")  # noqa: B009 - of asyncio's
        assert not scheduled
        room.enter("old", 31)
        await asyncio.sleep(0.5)
        assert len(room.moved) == 1


# --- what an origin has too many of ---


def sent_by(source: str, token: str, room: Room, caller: str = "shop") -> Waiter:
    """A token that a source has brought to a caller stands in line."""
    content = body(token, source=source) if source else body(token)
    incoming = Incoming(content, message_id=f"m-{next(NUMBERS)}", user_id=caller)
    parsed, _ = parse(incoming, datetime.now(UTC))
    assert isinstance(parsed, Submission)
    waiter = Waiter(parsed, FakeDelivery(incoming, Lane.LIVE), Lane.LIVE)
    begun = room.in_flight.join(waiter)
    assert begun is not None
    room.waiting.join(begun)
    return waiter


def crowded(room: Room) -> list[str]:
    """The ids that went into the crowd's lane."""
    return [sent.message_id for sent in room.publisher.sent if sent.routing_key == "crowd"]


@leaping
async def test_a_sources_surplus_goes_to_the_crowd() -> None:
    """Beyond two seconds of the rate, the last to come go, and nobody else's."""
    async with working() as room:
        junk = [sent_by("junk", f"j-{n}", room) for n in range(50)]
        buyers = [sent_by(f"buyer-{n}", f"b-{n}", room) for n in range(10)]
        await asyncio.sleep(1)
        assert crowded(room) == [waiter.submission.message_id for waiter in junk[20:]]
        assert acks(*junk) == [0] * 20 + [1] * 30
        assert acks(*buyers) == [0] * 10
        (moved, *_) = (sent for sent in room.publisher.sent if sent.routing_key == "crowd")
        assert moved.headers["x-resolution-caller"] == "shop"


@leaping
async def test_who_names_no_source_has_one_for_each_caller() -> None:
    """Alone it keeps its place, for nobody waits behind it; beside another caller it does not."""
    async with working() as room:
        flood = [sent_by("", f"f-{n}", room) for n in range(50)]
        await asyncio.sleep(1)
        assert crowded(room) == []
        other = sent_by("", "o-1", room, caller="club")
        await asyncio.sleep(1)
        assert len(crowded(room)) == 30
        assert acks(other) == [0]
        assert sum(acks(*flood)) == 30


@leaping
async def test_no_surplus_moves_while_calls_wait_for_something_else() -> None:
    """Where AWS refuses us, or nobody waits for a permit, everybody keeps his place."""
    async with working() as room:
        room.gate.hold("aws", "denied")
        for number in range(50):
            sent_by("junk", f"j-{number}", room)
        await asyncio.sleep(5)
        assert crowded(room) == []


@leaping
async def test_a_crowd_that_is_full_keeps_everybody_in_line() -> None:
    """A refused move is taken back, and tried again later, one at a time."""
    async with working() as room:
        room.publisher.refuses = lambda sent: sent.routing_key == "crowd"
        for number in range(50):
            sent_by("junk", f"j-{number}", room)
        await asyncio.sleep(1)
        assert len(room.line()) == 50
        room.publisher.refuses = lambda _: False
        await asyncio.sleep(30)
        assert len(room.line()) == 20
