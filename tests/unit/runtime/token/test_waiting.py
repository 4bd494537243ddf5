"""Waiting, counting and joining: the small parts of the runtime."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.fakes.clock import leaping, settle
from tests.fakes.fleet import FakeFleet
from tests.fakes.outside import FakeDelivery
from tests.fakes.records import ago, incoming, submission
from worker.core.rate.fleet import Lease
from worker.core.rate.usage import Usage
from worker.core.records import Lane
from worker.core.token.verdict import Tries
from worker.runtime.gate import Gate
from worker.runtime.pending import Pending
from worker.runtime.rate.pacer import Pacer
from worker.runtime.token.batch_queue import BatchQueue
from worker.runtime.token.in_flight import InFlight, InFlightToken, Stage, Waiter
from worker.runtime.token.waiting import WaitingRoom


def waiter(
    token: str = "t",  # noqa: S107 - a name
    lane: Lane = Lane.LIVE,
    **members: object,
) -> Waiter:
    """A submission with its delivery."""
    asked = replace(submission(token), **members)  # type: ignore[arg-type]
    return Waiter(asked, FakeDelivery(incoming(), lane), lane)


def token(token: str, lane: Lane = Lane.LIVE) -> InFlightToken:
    """A token with one waiter."""
    joined = InFlight().join(waiter(token, lane))
    assert joined is not None
    return joined


def drawn(room: WaitingRoom) -> list[str]:
    """Everybody in the order of their turns."""
    turns = []
    while (next_ := room.next()) is not None:
        turns.append(next_.leader.submission.token.value)
    return turns


# --- the waiting room ---


@leaping
async def test_tokens_leave_in_the_order_they_came() -> None:
    """Within a lane the first to come is the first to be called for."""
    room = WaitingRoom()
    for name in "abc":
        room.join(token(name))
    assert drawn(room) == ["a", "b", "c"]


@leaping
async def test_a_call_that_is_made_again_goes_first() -> None:
    """A token that joins as first is called for before all others of its lane."""
    room = WaitingRoom()
    room.join(token("a"))
    room.join(token("b"), first=True)
    assert drawn(room) == ["b", "a"]


@leaping
async def test_tokens_that_left_are_passed_over() -> None:
    """Whoever was given back in the meantime has no turn, wherever in line, and uses up none."""
    room = WaitingRoom()
    in_flight = {name: token(name) for name in "abcde"}
    for each in in_flight.values():
        room.join(each)
    for name in "ace":
        in_flight[name].waiters.clear()
    assert drawn(room) == ["b", "d"]
    assert room.next() is None


@leaping
async def test_the_backlog_has_every_fifth_turn() -> None:
    """While both lanes wait the backlog has a fifth of the turns; a lane alone has all."""
    room = WaitingRoom()
    for number in range(8):
        room.join(token(f"l{number}"))
    for number in range(4):
        room.join(token(f"b{number}", Lane.BACKLOG))
    assert drawn(room) == [
        "l0", "l1", "l2", "l3", "b0", "l4", "l5", "l6", "l7", "b1", "b2", "b3",
    ]  # fmt: skip


@leaping
async def test_a_buyer_who_joins_a_backlog_token_takes_it_into_the_live_line() -> None:
    """A copy from the live lane moves a waiting token, and it is called for only once."""
    room = WaitingRoom()
    slow = [token(name, Lane.BACKLOG) for name in "abc"]
    for one in slow:
        room.join(one)
    room.join(token("d"))
    slow[2].waiters.append(waiter("c", Lane.LIVE))
    room.promote(slow[2])
    room.promote(slow[0])  # nobody waits at the door for this one
    assert drawn(room) == ["d", "c", "a", "b"]


@leaping
async def test_who_left_is_let_go_of_in_both_lines() -> None:
    """While somebody stands in the live line those who left the backlog's are not kept."""
    room = WaitingRoom()
    room.join(token("live"))
    for number in range(100):
        gone = token(f"t{number}", Lane.BACKLOG)
        room.join(gone)
        gone.waiters.clear()
    await room.wait()
    assert [len(list(line)) for line in room._lines.values()] == [1, 0, 0]


@leaping
async def test_who_was_passed_over_may_leave_again() -> None:
    """A token that was passed over stands in no line, so it can be taken back and moved."""
    room = WaitingRoom()
    passed, other = token("passed"), token("other")
    room.join(passed)
    room.join(other)
    waiters, passed.waiters = passed.waiters, []
    await room.wait()
    passed.waiters = waiters
    room.leave(passed)
    room.join(passed, first=True)
    assert drawn(room) == ["passed", "other"]


@leaping
async def test_the_room_wakes_who_waits_for_somebody() -> None:
    """Waiting ends when somebody joins, not before, and not for those who left."""
    room = WaitingRoom()
    gone = token("gone")
    room.join(gone)
    gone.waiters.clear()
    waiting = asyncio.create_task(room.wait())
    await settle()
    assert not waiting.done()
    room.join(token("a", Lane.BACKLOG))
    await settle()
    assert waiting.done()


@leaping
async def test_a_token_joins_later_unless_it_left() -> None:
    """A token that waits for its next try stands in line after that time, if it is still there."""
    room = WaitingRoom()
    stays, leaves = token("stays"), token("leaves")
    room.join_later(stays, 2.0)
    room.join_later(leaves, 1.0)
    assert stays.stage is leaves.stage is Stage.WAITING
    leaves.waiters.clear()
    await asyncio.sleep(1.9)
    assert room.next() is None
    room.join(token("other"))
    await asyncio.sleep(0.2)
    assert drawn(room) == ["stays", "other"]


@leaping
async def test_who_needs_no_turn_uses_up_none() -> None:
    """Those found to be over leave without a turn, so that each lane keeps its share of calls."""
    left: list[InFlightToken] = []

    def over(one: InFlightToken) -> bool:
        if one.leader.submission.token.value.startswith("over"):
            left.append(one)
            return True
        return False

    room = WaitingRoom(over)
    for number in range(8):
        room.join(token(f"l{number}"))
    for number in range(50):
        room.join(token(f"over{number}", Lane.BACKLOG))
    for number in range(2):
        room.join(token(f"b{number}", Lane.BACKLOG))
    turns = []
    while (next_ := room.next()) is not None:
        turns.append(next_.leader.submission.token.value)
    assert turns == ["l0", "l1", "l2", "l3", "b0", "l4", "l5", "l6", "l7", "b1"]
    assert len(left) == len({id(one) for one in left}) == 50
    assert {one.line for one in left} == {None}


def _taken(left: set[InFlightToken], one: InFlightToken) -> bool:
    left.add(one)
    return True


@leaping
async def test_those_who_are_over_are_not_waited_for() -> None:
    """Waiting goes on when only those are in line who need no turn, and they are told at once."""
    left = set[InFlightToken]()
    room = WaitingRoom(lambda one: _taken(left, one))
    waiting = asyncio.create_task(room.wait())
    await settle()
    room.join(token("over"))
    await settle()
    assert (len(left), waiting.done()) == (1, False)
    waiting.cancel()


@leaping
async def test_calls_made_again_are_turns_like_others() -> None:
    """Tokens of the backlog that are called for again and again take no more than its fifth."""
    room, calls = WaitingRoom(), list[Lane]()
    for number in range(3):
        room.join(token(f"b{number}", Lane.BACKLOG))
    for number in range(500):
        room.join(token(f"l{number}"))
    for _ in range(100):
        next_ = room.next()
        assert next_ is not None
        calls.append(next_.lane)
        if next_.lane is Lane.BACKLOG:
            room.join(next_, first=True)
    assert calls.count(Lane.BACKLOG) == 20


@leaping
async def test_who_returns_stands_where_it_stood() -> None:
    """A token that joins again stands before all who were delivered later, and only once."""
    room = WaitingRoom()
    in_flight = []
    for number, name in enumerate("abcd"):
        in_flight.append(token(name))
        delivery = in_flight[-1].leader.delivery
        assert isinstance(delivery, FakeDelivery)
        delivery.arrived = float(number)
        room.join(in_flight[-1])
    for gone in (in_flight[1], in_flight[3], in_flight[0]):
        room.leave(gone)
        room.leave(gone)
    assert [each.key for each in room.waiting_in(Lane.LIVE)] == [in_flight[2].key]
    for back in (in_flight[3], in_flight[0], in_flight[1]):
        room.rejoin(back)
    assert drawn(room) == ["a", "b", "c", "d"]


# --- counts, gates, paces ---


@leaping
async def test_pending_is_waited_for() -> None:
    """Waiting for nothing pending ends at once if so, else when the last is done."""
    pending = Pending()
    await pending.none()
    pending.add(2)
    waiting = asyncio.create_task(pending.none())
    await settle()
    pending.add(-1)
    await settle()
    assert not waiting.done()
    assert pending.count == 1
    pending.add(-1)
    await settle()
    assert waiting.done()


@leaping
async def test_a_gate_opens_when_the_last_reason_is_gone() -> None:
    """Each reason holds by itself; a reason that nobody gave may be taken away."""
    gate = Gate()
    await gate.wait_open()
    gate.hold("aws", "denied")
    gate.hold("ledger", "down")
    gate.hold("ledger", "still down")
    gate.release("nobody")
    waiting = asyncio.create_task(gate.wait_open())
    gate.release("aws")
    await settle()
    assert not waiting.done()
    assert gate.reasons == {"ledger": "still down"}
    gate.release("ledger")
    await settle()
    assert waiting.done()
    assert gate.reasons == {}


def leased(rate: float) -> Pacer:
    """A pacer with a lease of so many calls a second."""
    pacer = Pacer(FakeFleet(), Usage(since=0.0))
    pacer.follow(Lease(rate, rate))
    return pacer


@leaping
async def test_permits_come_at_the_share() -> None:
    """Whoever asks all the time gets exactly the share's calls a second."""
    pacer, loop = leased(10.0), asyncio.get_running_loop()
    taken = []
    for _ in range(101):
        await pacer.permit()
        pacer.follow(Lease(10.0, 10.0))
        taken.append(loop.time())
    assert taken[0] == 0.0
    assert taken[-1] == pytest.approx(10.0, abs=0.01)


class Crowded(FakeFleet):
    """A fleet whose single permits lie far ahead while many share them."""

    wait = 40.0

    async def permit(self) -> float:
        """The next is so many seconds off."""
        return self.wait


@leaping
async def test_a_permit_among_many_is_not_waited_out_when_they_are_gone() -> None:
    """It was the last of eighty: once those are gone, another is asked for and comes at once."""
    fleet, loop = Crowded(), asyncio.get_running_loop()
    pacer = Pacer(fleet, Usage(since=0.0))
    pacer.follow(Lease(2.0, 2.0 / 80, singly=True, replicas=80))
    waiting = asyncio.create_task(pacer.permit())
    await asyncio.sleep(1)
    pacer.follow(Lease(2.0, 2.0, singly=True, replicas=1))
    fleet.wait = 0.0
    await waiting
    assert loop.time() < 2


@leaping
async def test_a_new_share_is_felt_within_a_nap() -> None:
    """Whoever waits for a permit at a low rate hardly waits once the rate is raised."""
    pacer, loop = leased(0.01), asyncio.get_running_loop()
    await pacer.permit()
    began = loop.time()
    waiting = asyncio.create_task(pacer.permit())
    await asyncio.sleep(1)
    assert pacer.limits
    pacer.follow(Lease(100.0, 100.0))
    await waiting
    assert loop.time() - began < 1.3
    assert not pacer.limits


# --- queues emptied in batches ---


@leaping
async def test_a_lone_item_is_handed_over_at_once() -> None:
    """An item that no other follows is handed over without letting time pass."""
    box: BatchQueue[int] = BatchQueue()
    taking = asyncio.create_task(box.batch())
    await settle()
    box.put(1)
    assert await taking == [1]
    assert asyncio.get_running_loop().time() == 0.0


@leaping
async def test_what_each_turn_of_the_loop_adds_is_in_the_batch() -> None:
    """As long as each turn brings more, they gather; the first that brings nothing ends it."""
    box: BatchQueue[int] = BatchQueue()
    taking = asyncio.create_task(box.batch())
    await settle()
    for number in range(10):
        box.put(number)
        await asyncio.sleep(0)
    await settle()
    box.put(10)
    assert await taking == list(range(10))
    assert box.take() == [10]


@leaping
async def test_a_batch_gathers_for_so_long_at_most() -> None:
    """However much each turn brings, the oldest goes after 25 ms."""
    box: BatchQueue[int] = BatchQueue(1_000)
    loop = asyncio.get_running_loop()
    taking = asyncio.create_task(box.batch())
    await settle()

    def flood() -> None:
        box.put(0)
        if loop.time() < 1.0:
            loop._leaping.now += 0.001  # type: ignore[attr-defined] # each turn takes a while
            loop.call_soon(flood)

    flood()
    assert 20 <= len(await taking) <= 27
    assert loop.time() < 0.03


@leaping
async def test_no_batch_is_larger_than_full() -> None:
    """A full batch goes, and the rest is the next one's."""
    box: BatchQueue[int] = BatchQueue(5)
    for number in range(8):
        box.put(number)
    assert await box.batch() == [0, 1, 2, 3, 4]
    assert await box.batch() == [5, 6, 7]
    assert box.take() == []


# --- in_flight ---


def test_a_copy_joins_and_shares_what_was_spent() -> None:
    """A second submission of a token joins its token, and the higher count of attempts stands."""
    in_flight = InFlight()
    first = in_flight.join(waiter(attempts=1))
    assert first is not None
    assert in_flight.join(waiter(attempts=4)) is None
    assert in_flight.join(waiter("other")) is not None
    assert len(in_flight) == 2
    assert (len(first.waiters), first.attempts) == (2, 4)


def test_the_same_token_of_another_seller_is_another() -> None:
    """Tokens are told apart by seller too."""
    in_flight = InFlight()
    assert in_flight.join(waiter()) is not None
    assert in_flight.join(waiter(seller="emea")) is not None


def test_nobody_joins_a_token_that_has_finished() -> None:
    """A copy that comes after landing is a token of its own, which an old landing leaves alone."""
    in_flight = InFlight()
    first = in_flight.join(waiter())
    assert first is not None
    assert len(in_flight.finish(first)) == 1
    second = in_flight.join(waiter())
    assert second is not None
    assert in_flight.finish(first) == []
    assert list(in_flight) == [second]


def test_a_replay_leads_else_the_first() -> None:
    """The submission that decides is the latest replay's if one is joined, or else the first's."""
    in_flight = InFlight()
    joined = in_flight.join(waiter(message_id="first"))
    assert joined is not None
    in_flight.join(waiter(message_id="second"))
    assert joined.leader.submission.message_id == "first"
    in_flight.join(waiter(message_id="replay", replay=ago(seconds=2)))
    in_flight.join(waiter(message_id="later", replay=ago(seconds=1)))
    in_flight.join(waiter(message_id="earlier", replay=ago(seconds=3)))
    assert joined.leader.submission.message_id == "later"


@pytest.mark.parametrize("stage", list(Stage))
def test_a_replay_that_joins_after_the_call_is_late(stage: Stage) -> None:
    """Only a replay, and only one that joins when the outcome is being written."""
    in_flight = InFlight()
    joined = in_flight.join(waiter(message_id="first"))
    assert joined is not None
    joined.stage = stage
    in_flight.join(waiter(message_id="second"))
    in_flight.join(waiter(message_id="replay", replay=ago(seconds=1)))
    assert [one.late for one in joined.waiters] == [False, False, stage is Stage.WRITING]


def test_age_only_grows() -> None:
    """What the ledger knows makes each submission older, never younger."""
    joined = token("t")
    joined.waiters.append(waiter(first_seen=ago(hours=2)))
    joined.older(ago(hours=1))
    assert [each.submission.first_seen for each in joined.waiters] == [ago(hours=1), ago(hours=2)]


def test_tries_run_from_the_first_call() -> None:
    """Time is counted from the first call since delivery; before it there is none."""
    joined = token("t")
    assert joined.tries(99.0) == Tries()
    joined.first_call, joined.attempts, joined.failures = 90.0, 3, 2
    joined.systemic.count = 1
    assert joined.tries(99.0) == Tries(3, 2, 9.0, 1)


@pytest.mark.parametrize("stage", list(Stage))
def test_of_a_lost_channel_only_unfinished_tokens_are_forgotten(stage: Stage) -> None:
    """A token whose deliveries all died is forgotten unless its answer is under way."""
    in_flight = InFlight()
    joined = in_flight.join(lost := waiter())
    assert joined is not None
    joined.stage = stage
    assert isinstance(lost.delivery, FakeDelivery)
    lost.delivery.alive = False
    in_flight.drop_dead()
    assert len(in_flight) == (1 if stage in {Stage.CALLING, Stage.WRITING} else 0)
    assert in_flight.finish(joined) == []


@pytest.mark.parametrize("stage", list(Stage))
def test_a_living_copy_keeps_its_token(stage: Stage) -> None:
    """Where one delivery lives on its token goes on, and only that delivery is answered."""
    in_flight = InFlight()
    joined = in_flight.join(lost := waiter())
    in_flight.join(alive := waiter())
    assert joined is not None
    joined.stage = stage
    assert isinstance(lost.delivery, FakeDelivery)
    lost.delivery.alive = False
    in_flight.drop_dead()
    assert list(in_flight) == [joined]
    assert in_flight.finish(joined) == [alive]
