"""Waiting, counting and joining: the small parts of the runtime."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.fakes.clock import leaping, settle
from tests.fakes.fleet import FakeFleet
from tests.fakes.outside import FakeDelivery
from tests.fakes.records import ago, incoming, submission
from worker.core.batching import Linger
from worker.core.rate.fleet import Lease
from worker.core.rate.usage import Usage
from worker.core.records import Lane
from worker.core.token.verdict import Tries
from worker.runtime.gate import Gate
from worker.runtime.rate.pacer import Pacer
from worker.runtime.token.batch_queue import Mailbox
from worker.runtime.token.in_flight import Flight, Flights, Party, Stage
from worker.runtime.token.waiting import Pending, WaitingRoom


def party(
    token: str = "t",  # noqa: S107 - a name
    lane: Lane = Lane.LIVE,
    **members: object,
) -> Party:
    """A submission with its delivery."""
    asked = replace(submission(token), **members)  # type: ignore[arg-type]
    return Party(asked, FakeDelivery(incoming(), lane), lane)


def flight(token: str, lane: Lane = Lane.LIVE) -> Flight:
    """A flight with one party."""
    aboard = Flights().board(party(token, lane))
    assert aboard is not None
    return aboard


def drawn(room: WaitingRoom) -> list[str]:
    """Everybody in the order of their turns."""
    turns = []
    while (next_ := room.next()) is not None:
        turns.append(next_.leader.submission.token.value)
    return turns


# --- the waiting room ---


@leaping
async def test_flights_leave_in_the_order_they_came() -> None:
    """Within a lane the first to come is the first to be called for."""
    room = WaitingRoom()
    for name in "abc":
        room.join(flight(name))
    assert drawn(room) == ["a", "b", "c"]


@leaping
async def test_a_call_that_is_made_again_goes_first() -> None:
    """A flight that joins as first is called for before all others of its lane."""
    room = WaitingRoom()
    room.join(flight("a"))
    room.join(flight("b"), first=True)
    assert drawn(room) == ["b", "a"]


@leaping
async def test_flights_that_left_are_passed_over() -> None:
    """Whoever was given back in the meantime has no turn, wherever in line, and uses up none."""
    room = WaitingRoom()
    flights = {name: flight(name) for name in "abcde"}
    for each in flights.values():
        room.join(each)
    for name in "ace":
        flights[name].parties.clear()
    assert drawn(room) == ["b", "d"]
    assert room.next() is None


@leaping
async def test_the_backlog_has_every_fifth_turn() -> None:
    """While both lanes wait the backlog has a fifth of the turns; a lane alone has all."""
    room = WaitingRoom()
    for number in range(8):
        room.join(flight(f"l{number}"))
    for number in range(4):
        room.join(flight(f"b{number}", Lane.BACKLOG))
    assert drawn(room) == [
        "l0", "l1", "l2", "l3", "b0", "l4", "l5", "l6", "l7", "b1", "b2", "b3",
    ]  # fmt: skip


@leaping
async def test_a_buyer_who_joins_a_backlog_token_takes_it_into_the_live_line() -> None:
    """A copy from the live lane moves a waiting flight, and it is called for only once."""
    room = WaitingRoom()
    slow = [flight(name, Lane.BACKLOG) for name in "abc"]
    for one in slow:
        room.join(one)
    room.join(flight("d"))
    slow[2].parties.append(party("c", Lane.LIVE))
    room.promote(slow[2])
    room.promote(slow[0])  # nobody waits at the door for this one
    assert drawn(room) == ["d", "c", "a", "b"]


@leaping
async def test_who_left_is_let_go_of_in_both_lines() -> None:
    """While somebody stands in the live line those who left the backlog's are not kept."""
    room = WaitingRoom()
    room.join(flight("live"))
    for number in range(100):
        gone = flight(f"t{number}", Lane.BACKLOG)
        room.join(gone)
        gone.parties.clear()
    await room.wait()
    assert [len(list(line)) for line in room._lines.values()] == [1, 0, 0]


@leaping
async def test_who_was_passed_over_may_leave_again() -> None:
    """A flight that was passed over stands in no line, so it can be taken back and moved."""
    room = WaitingRoom()
    passed, other = flight("passed"), flight("other")
    room.join(passed)
    room.join(other)
    parties, passed.parties = passed.parties, []
    await room.wait()
    passed.parties = parties
    room.leave(passed)
    room.join(passed, first=True)
    assert drawn(room) == ["passed", "other"]


@leaping
async def test_the_room_wakes_who_waits_for_somebody() -> None:
    """Waiting ends when somebody joins, not before, and not for those who left."""
    room = WaitingRoom()
    gone = flight("gone")
    room.join(gone)
    gone.parties.clear()
    waiting = asyncio.create_task(room.wait())
    await settle()
    assert not waiting.done()
    room.join(flight("a", Lane.BACKLOG))
    await settle()
    assert waiting.done()


@leaping
async def test_a_flight_joins_later_unless_it_left() -> None:
    """A flight that waits for its next try stands in line after that time, if it is still there."""
    room = WaitingRoom()
    stays, leaves = flight("stays"), flight("leaves")
    room.join_later(stays, 2.0)
    room.join_later(leaves, 1.0)
    assert stays.stage is leaves.stage is Stage.WAITING
    leaves.parties.clear()
    await asyncio.sleep(1.9)
    assert room.next() is None
    room.join(flight("other"))
    await asyncio.sleep(0.2)
    assert drawn(room) == ["stays", "other"]


@leaping
async def test_who_needs_no_turn_uses_up_none() -> None:
    """Those found to be over leave without a turn, so that each lane keeps its share of calls."""
    room = WaitingRoom()
    for number in range(8):
        room.join(flight(f"l{number}"))
    for number in range(50):
        room.join(flight(f"over{number}", Lane.BACKLOG))
    for number in range(2):
        room.join(flight(f"b{number}", Lane.BACKLOG))
    left: list[Flight] = []

    def over(one: Flight) -> bool:
        if one.leader.submission.token.value.startswith("over"):
            left.append(one)
            return True
        return False

    turns = []
    while (next_ := room.next(over)) is not None:
        turns.append(next_.leader.submission.token.value)
    assert turns == ["l0", "l1", "l2", "l3", "b0", "l4", "l5", "l6", "l7", "b1"]
    assert len(left) == len({id(one) for one in left}) == 50
    assert {one.line for one in left} == {None}


def _taken(left: set[Flight], one: Flight) -> bool:
    left.add(one)
    return True


@leaping
async def test_those_who_are_over_are_not_waited_for() -> None:
    """Waiting goes on when only those are in line who need no turn, and they are told at once."""
    room, left = WaitingRoom(), set[Flight]()
    waiting = asyncio.create_task(room.wait(lambda one: _taken(left, one)))
    await settle()
    room.join(flight("over"))
    await settle()
    assert (len(left), waiting.done()) == (1, False)
    waiting.cancel()


@leaping
async def test_calls_made_again_are_turns_like_others() -> None:
    """Tokens of the backlog that are called for again and again take no more than its fifth."""
    room, calls = WaitingRoom(), list[Lane]()
    for number in range(3):
        room.join(flight(f"b{number}", Lane.BACKLOG))
    for number in range(500):
        room.join(flight(f"l{number}"))
    for _ in range(100):
        next_ = room.next()
        assert next_ is not None
        calls.append(next_.lane)
        if next_.lane is Lane.BACKLOG:
            room.join(next_, first=True)
    assert calls.count(Lane.BACKLOG) == 20


@leaping
async def test_who_returns_stands_where_it_stood() -> None:
    """A flight that joins again stands before all who were delivered later, and only once."""
    room = WaitingRoom()
    flights = []
    for number, name in enumerate("abcd"):
        flights.append(flight(name))
        delivery = flights[-1].leader.delivery
        assert isinstance(delivery, FakeDelivery)
        delivery.arrived = float(number)
        room.join(flights[-1])
    for gone in (flights[1], flights[3], flights[0]):
        room.leave(gone)
        room.leave(gone)
    assert [each.key for each in room.standing(Lane.LIVE)] == [flights[2].key]
    for back in (flights[3], flights[0], flights[1]):
        room.rejoin(back)
    assert drawn(room) == ["a", "b", "c", "d"]


# --- counts, gates, paces ---


@leaping
async def test_pending_is_waited_for() -> None:
    """Waiting for nothing pending ends at once if so, else when the last is done."""
    heard: list[int] = []
    pending = Pending(heard.append)
    await pending.none()
    pending.add(2)
    waiting = asyncio.create_task(pending.none())
    await settle()
    pending.add(-1)
    await settle()
    assert not waiting.done()
    pending.add(-1)
    await settle()
    assert waiting.done()
    assert heard == [2, 1, 0]


@leaping
async def test_a_gate_opens_when_the_last_reason_is_gone() -> None:
    """Each reason holds by itself; a reason that nobody gave may be taken away."""
    gate = Gate()
    await gate.passed()
    gate.shut("aws", "denied")
    gate.shut("ledger", "down")
    gate.shut("ledger", "still down")
    gate.open("nobody")
    waiting = asyncio.create_task(gate.passed())
    gate.open("aws")
    await settle()
    assert not waiting.done()
    assert gate.reasons == {"ledger": "still down"}
    gate.open("ledger")
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


# --- mailboxes ---

LINGER = Linger(rows=5, seconds=0.1, worthwhile_rows=1)


@leaping
async def test_a_lone_item_is_handed_over_at_once() -> None:
    """An idle mailbox hands a single item over without letting time pass."""
    box: Mailbox[int] = Mailbox(LINGER)
    taking = asyncio.create_task(box.batch())
    await settle()
    box.put(1)
    assert await taking == [1]
    assert asyncio.get_running_loop().time() == 0.0


@leaping
async def test_a_busy_mailbox_lingers_but_no_longer_than_it_may() -> None:
    """Where more is coming a batch waits for company, counted from its oldest item."""
    box: Mailbox[int] = Mailbox(LINGER)
    loop = asyncio.get_running_loop()
    for number in range(8):
        box.put(number)
    assert await box.batch() == [0, 1, 2, 3, 4]
    assert loop.time() == 0.0
    loop.call_later(0.05, box.put, 8)
    assert await box.batch() == [5, 6, 7, 8]
    assert loop.time() == pytest.approx(0.1)


@leaping
async def test_a_batch_that_fills_goes_early() -> None:
    """As soon as a lingering batch is full it goes, and no batch is larger than full."""
    box: Mailbox[int] = Mailbox(LINGER)
    loop = asyncio.get_running_loop()
    for number in range(4):
        box.put(number)
    loop.call_later(0.02, box.put, 4)
    loop.call_later(0.02, box.put, 5)
    assert await box.batch() == [0, 1, 2, 3, 4]
    assert loop.time() == pytest.approx(0.02)
    assert box.take() == [5]
    assert box.take() == []


# --- flights ---


def test_a_copy_joins_and_shares_what_was_spent() -> None:
    """A second submission of a token joins its flight, and the higher count of attempts stands."""
    flights = Flights()
    first = flights.board(party(attempts=1))
    assert first is not None
    assert flights.board(party(attempts=4)) is None
    assert flights.board(party("other")) is not None
    assert len(flights) == 2
    assert (len(first.parties), first.attempts) == (2, 4)


def test_the_same_token_of_another_seller_is_another() -> None:
    """Tokens are told apart by seller too."""
    flights = Flights()
    assert flights.board(party()) is not None
    assert flights.board(party(seller="emea")) is not None


def test_a_flight_that_landed_takes_nobody_aboard() -> None:
    """A copy that comes after landing is a flight of its own, which an old landing leaves alone."""
    flights = Flights()
    first = flights.board(party())
    assert first is not None
    assert len(flights.land(first)) == 1
    second = flights.board(party())
    assert second is not None
    assert flights.land(first) == []
    assert list(flights) == [second]


def test_a_replay_leads_else_the_first() -> None:
    """The submission that decides is the latest replay's if one is aboard, or else the first's."""
    flights = Flights()
    aboard = flights.board(party(message_id="first"))
    assert aboard is not None
    flights.board(party(message_id="second"))
    assert aboard.leader.submission.message_id == "first"
    flights.board(party(message_id="replay", replay=ago(seconds=2)))
    flights.board(party(message_id="later", replay=ago(seconds=1)))
    flights.board(party(message_id="earlier", replay=ago(seconds=3)))
    assert aboard.leader.submission.message_id == "later"


@pytest.mark.parametrize("stage", list(Stage))
def test_a_replay_that_joins_after_the_call_is_late(stage: Stage) -> None:
    """Only a replay, and only one that joins when the outcome is being written."""
    flights = Flights()
    aboard = flights.board(party(message_id="first"))
    assert aboard is not None
    aboard.stage = stage
    flights.board(party(message_id="second"))
    flights.board(party(message_id="replay", replay=ago(seconds=1)))
    assert [one.late for one in aboard.parties] == [False, False, stage is Stage.WRITING]


def test_age_only_grows() -> None:
    """What the ledger knows makes each submission older, never younger."""
    aboard = flight("t")
    aboard.parties.append(party(first_seen=ago(hours=2)))
    aboard.older(ago(hours=1))
    assert [each.submission.first_seen for each in aboard.parties] == [ago(hours=1), ago(hours=2)]


def test_tries_run_from_the_first_call() -> None:
    """Time is counted from the first call since delivery; before it there is none."""
    aboard = flight("t")
    assert aboard.tries(99.0) == Tries()
    aboard.first_call, aboard.attempts, aboard.failures = 90.0, 3, 2
    aboard.systemic.count = 1
    assert aboard.tries(99.0) == Tries(3, 2, 9.0, 1)


@pytest.mark.parametrize("stage", list(Stage))
def test_of_a_lost_channel_only_unfinished_flights_are_forgotten(stage: Stage) -> None:
    """A flight whose deliveries all died is forgotten unless its answer is under way."""
    flights = Flights()
    aboard = flights.board(lost := party())
    assert aboard is not None
    aboard.stage = stage
    assert isinstance(lost.delivery, FakeDelivery)
    lost.delivery.alive = False
    flights.drop_dead()
    assert len(flights) == (1 if stage in {Stage.CALLING, Stage.WRITING} else 0)
    assert flights.land(aboard) == []


@pytest.mark.parametrize("stage", list(Stage))
def test_a_living_copy_keeps_its_flight(stage: Stage) -> None:
    """Where one delivery lives on its flight goes on, and only that delivery is answered."""
    flights = Flights()
    aboard = flights.board(lost := party())
    flights.board(alive := party())
    assert aboard is not None
    aboard.stage = stage
    assert isinstance(lost.delivery, FakeDelivery)
    lost.delivery.alive = False
    flights.drop_dead()
    assert list(flights) == [aboard]
    assert flights.land(aboard) == [alive]
