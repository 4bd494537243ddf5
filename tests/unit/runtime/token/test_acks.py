"""The only place that acks: what is said is confirmed first, or taken care of, each for itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping, settle
from tests.fakes.outside import FakeDelivery, FakeOutbox, FakePublisher, FakeTelemetry
from tests.fakes.records import incoming
from worker.core.exceptions import BrokerLost, Refused, Unanswered, Unroutable, Unsendable
from worker.core.token.outgoing import ANSWERS, EVENTS, Kind, Outgoing
from worker.runtime.token.acks import AckAfterConfirm
from worker.runtime.token.answer_log import AnswerLog
from worker.runtime.token.event_outbox import EventOutbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ports import PublishFailure

FULL = Refused("the queue is full")


def message(name: str) -> Outgoing:
    """A message on its way to another queue of ours."""
    return Outgoing("resolution.internal", "token", b"{}", name, mandatory=True)


def event(name: str, key: str = "token.resolved") -> Outgoing:
    """An event."""
    return Outgoing(EVENTS, key, b"{}", name)


def reply(name: str, key: str = "resolution.reply.x") -> Outgoing:
    """A reply."""
    return Outgoing(ANSWERS, key, b"{}", name, mandatory=True)


class Acks(AckAfterConfirm):
    """Acks with all that is around them."""

    def __init__(self, publisher: FakePublisher) -> None:
        self.publisher = publisher
        self.outbox = FakeOutbox()
        self.telemetry = FakeTelemetry()
        answers = AnswerLog(self.telemetry)
        self.events = EventOutbox(self.outbox, publisher, answers)
        super().__init__(publisher, self.events, answers)

    def said(self, *messages: Outgoing) -> FakeDelivery:
        """A delivery about which these are said."""
        delivery = FakeDelivery(incoming())
        self.put(delivery, messages)
        return delivery

    def tries(self, name: str) -> list[float]:
        """When a message was published, whatever came of it."""
        return [at for at, each in self.publisher.tried if each.message_id == name]


@asynccontextmanager
async def running(publisher: FakePublisher, *, sending: bool = False) -> AsyncIterator[Acks]:
    """Acks at work, and storing; what is stored is sent only if asked for."""
    acks = Acks(publisher)
    parts = [acks.run(), acks.events.run() if sending else acks.events._store_batches()]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield acks
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@leaping
async def test_an_ack_follows_its_confirms() -> None:
    """Nothing is acked before all that is said about it is confirmed; then it is told as done."""
    publisher, done = FakePublisher(), asyncio.Event()
    publisher.latency = 1.0
    async with running(publisher) as acks:
        delivery = FakeDelivery(incoming())
        acks.put(delivery, (event("event"), reply("reply")), done.set)
        await asyncio.sleep(0.9)
        assert (delivery.acks, done.is_set(), acks.pending.count) == (0, False, 1)
        await asyncio.sleep(0.2)
        assert (delivery.acks, done.is_set(), acks.pending.count) == (1, True, 0)


@leaping
async def test_what_is_not_confirmed_is_tried_again() -> None:
    """A refused message is tried again, at growing intervals, until it is confirmed."""
    publisher = FakePublisher()
    publisher.refuses = lambda each: each.message_id == "full" and len(publisher.tried) < 12
    async with running(publisher) as acks:
        good, full = FakeDelivery(incoming()), FakeDelivery(incoming())
        acks.put(good, (message("good"),))
        acks.put(full, (message("full"),))
        await settle()
        assert (good.acks, full.acks) == (1, 0)
        await acks.pending.none()
        assert full.acks == 1
    times = [time for time, each in publisher.tried if each.message_id == "full"]
    assert len(times) == 11
    assert 0 < times[-1] <= 50


@leaping
async def test_a_queue_that_takes_nothing_for_a_minute_is_given_up() -> None:
    """A message that is refused all the time goes elsewhere then, and its delivery is acked."""
    publisher = FakePublisher()
    publisher.refuses = lambda each: each.message_id == "retry"
    async with running(publisher) as acks:
        delivery = FakeDelivery(incoming())
        acks.put(delivery, (message("retry"),), otherwise=message("back"))
        await asyncio.sleep(55)
        assert delivery.acks == 0
        await acks.pending.none()
        assert delivery.acks == 1
    assert publisher.tried[-1][1].message_id == "back"
    assert 60 < publisher.tried[-1][0] < 75


@leaping
async def test_who_wants_it_back_gets_it_back() -> None:
    """A move whose sender wants it back is tried once, and stays pending until it is returned."""
    publisher, told = FakePublisher(), list[tuple[str, int]]()
    publisher.refuses = lambda each: each.message_id == "full"
    async with running(publisher) as acks:
        full, good = FakeDelivery(incoming()), FakeDelivery(incoming())

        def refused(why: PublishFailure) -> None:
            told.append((str(why), acks.pending.count))

        acks.put(full, (message("full"),), refused=refused)
        acks.put(good, (message("good"),), refused=refused)
        await acks.pending.none()
        assert told == [("refused", 2)]
        await asyncio.sleep(60)
    assert (full.acks, good.acks) == (0, 1)
    assert len(publisher.tried) == 2


@leaping
async def test_a_delivery_that_died_is_dropped() -> None:
    """For a delivery that the broker hands out anew nothing more is sent, acked or told."""
    publisher, done = FakePublisher(), asyncio.Event()
    publisher.refuses = lambda _: True
    async with running(publisher) as acks:
        delivery = FakeDelivery(incoming())
        acks.put(delivery, (message("m"),), done.set)
        await settle()
        delivery.alive = False
        publisher.refuses = lambda _: False
        await acks.pending.none()
    assert (delivery.acks, done.is_set(), publisher.sent) == (0, False, [])


@leaping
async def test_a_delivery_that_dies_while_it_is_confirmed_is_not_acked() -> None:
    """If the channel goes between publish and confirm nothing is acked nor stays pending."""
    publisher, done = FakePublisher(), asyncio.Event()
    publisher.latency = 1.0
    async with running(publisher) as acks:
        delivery = FakeDelivery(incoming())
        acks.put(delivery, (message("m"),), done.set)
        await asyncio.sleep(0.5)
        delivery.alive = False
        await acks.pending.none()
    assert (delivery.acks, done.is_set()) == (0, False)


@leaping
async def test_what_needs_no_words_is_acked_at_once() -> None:
    """A delivery about which nothing has to be said is acked without publishing."""
    publisher = FakePublisher()
    async with running(publisher) as acks:
        delivery = FakeDelivery(incoming())
        acks.put(delivery, ())
        await acks.pending.none()
    assert delivery.acks == 1
    assert publisher.batches == []


@leaping
async def test_many_messages_travel_in_bounded_batches() -> None:
    """A thousand messages go in batches of at most 128, four at once, and each ack comes once."""
    publisher = FakePublisher()
    publisher.latency = 1.0
    deliveries = [FakeDelivery(incoming()) for _ in range(1_000)]
    async with running(publisher) as acks:
        for number, delivery in enumerate(deliveries):
            acks.put(delivery, (message(f"m{number}"),))
        await asyncio.sleep(0.5)
        assert publisher.batches == [128] * 4
        await acks.pending.none()
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert {delivery.acks for delivery in deliveries} == {1}
    assert len(publisher.sent) == 1_000


# --- each message for itself ---


@leaping
async def test_what_is_confirmed_is_not_sent_again() -> None:
    """If the reply's connection is lost, the event that was confirmed is not sent again."""
    publisher = FakePublisher()
    publisher.fault = BrokerLost("connection lost")
    publisher.refuses = lambda each: each.message_id == "reply" and len(publisher.tried) < 20
    async with running(publisher) as acks:
        delivery = acks.said(event("event"), reply("reply"))
        await settle()
        assert delivery.acks == 0
        await acks.pending.none()
    assert delivery.acks == 1
    assert len(acks.tries("event")) == 1
    assert len(acks.tries("reply")) == 19
    assert acks.tries("reply")[-1] > 10


@leaping
async def test_a_late_confirmation_delays_its_own_ack_alone() -> None:
    """A confirmation that does not come holds up no other delivery, and its own until it comes."""
    publisher = FakePublisher()
    publisher.late = lambda each: each.message_id == "slow"
    async with running(publisher) as acks:
        slow = acks.said(event("quick"), reply("slow"))
        others = [acks.said(reply(f"r{number}")) for number in range(1_000)]
        await settle(200)
        assert {other.acks for other in others} == {1}
        await asyncio.sleep(100)
        assert slow.acks == 0
        ((_, future),) = publisher.futures
        future.set_result(None)
        await acks.pending.none()
        assert slow.acks == 1


@leaping
async def test_a_late_refusal_is_one() -> None:
    """A reply that is refused late is tried again as one that was refused at once."""
    publisher = FakePublisher()
    publisher.late = lambda _: not publisher.futures
    async with running(publisher) as acks:
        delivery = acks.said(reply("r"))
        await asyncio.sleep(1)
        publisher.futures[0][1].set_result(FULL)
        await acks.pending.none()
    assert delivery.acks == 1
    assert acks.tries("r") == [0.0, pytest.approx(1.15, abs=0.05)]


# --- refused replies ---


@leaping
async def test_a_refused_reply_is_tried_for_five_seconds_and_dropped() -> None:
    """A reply that its queue refuses is given up after five seconds, counted, and acked."""
    publisher = FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda each: each.message_id == "r"
    async with running(publisher) as acks:
        delivery = acks.said(event("e"), reply("r"))
        await asyncio.sleep(4.9)
        assert delivery.acks == 0
        await asyncio.sleep(0.2)
        assert (delivery.acks, acks.pending.count) == (1, 0)
        later = acks.said(reply("r"))
        await settle()
        assert later.acks == 1
    tries = acks.tries("r")
    assert tries[-2] == pytest.approx(5.0)
    assert 4 <= len(tries) <= 12
    assert len(acks.tries("e")) == 1
    assert acks.telemetry.drops == {Kind.REPLY: 2}


@leaping
async def test_a_reply_for_which_no_queue_is_bound_is_told_and_not_tried_again() -> None:
    """It delays nothing and is counted; a line a minute names the caller and what to do."""
    publisher = FakePublisher()
    publisher.fault = Unroutable("no queue is bound")
    publisher.refuses = lambda each: each.kind is Kind.REPLY
    with capture_logs() as lines:
        async with running(publisher) as acks:
            for number in range(900):
                name = f"r{number}"
                delivery = acks.said(event("e"), reply(name, "resolution.reply.shop.gone"))
                await asyncio.sleep(0.1)
                assert (delivery.acks, len(acks.tries(name))) == (1, 1)
            await asyncio.sleep(61)
    assert acks.telemetry.oddities == {"reply_unroutable": 900}
    assert acks.telemetry.drops == {}
    assert [line["event"] for line in lines] == ["reply_unroutable"] * 3
    assert sum(line["messages"] for line in lines) == 900
    assert {line["caller"] for line in lines} == {"shop"}
    assert "bind their queue before they publish" in lines[0]["remedy"]


@leaping
async def test_a_queue_that_has_room_again_gets_its_replies() -> None:
    """A reply that was refused for three seconds arrives once its queue has room."""
    loop, publisher = asyncio.get_running_loop(), FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda _: loop.time() < 3
    async with running(publisher) as acks:
        deliveries = [acks.said(reply(f"r{number}")) for number in range(20)]
        await acks.pending.none()
    assert {delivery.acks for delivery in deliveries} == {1}
    assert len(publisher.sent) == 20
    assert acks.telemetry.drops == {}


@leaping
async def test_a_flood_of_refused_replies_holds_few_deliveries() -> None:
    """Of five thousand replies that their queue refuses fifty wait, and nobody else does."""
    publisher = FakePublisher()
    publisher.fault, publisher.latency = FULL, 0.005
    publisher.refuses = lambda each: each.routing_key == "resolution.reply.x"
    async with running(publisher) as acks:
        refused = [acks.said(reply(f"r{number}")) for number in range(5_000)]
        other = acks.said(reply("other", "resolution.reply.y"))
        await asyncio.sleep(0.2)
        assert other.acks == 1
        assert sum(1 - delivery.acks for delivery in refused) == 50
        await acks.pending.none()
    assert {delivery.acks for delivery in refused} == {1}
    assert len(publisher.tried) < 5_001 + 50 * 12
    assert acks.telemetry.drops == {Kind.REPLY: 5_000}


@leaping
async def test_a_silent_queue_gets_few_replies() -> None:
    """Replies to a queue that says nothing are dropped, and but few are sent to it meanwhile."""
    publisher = FakePublisher()
    publisher.fault = Unanswered("silence")
    publisher.refuses = lambda each: each.routing_key == "resolution.reply.x"
    async with running(publisher) as acks:
        silent = []
        for number in range(600):
            silent.append(acks.said(reply(f"r{number}")))
            await asyncio.sleep(0.1)
        await acks.pending.none()
    assert {delivery.acks for delivery in silent} == {1}
    assert len(publisher.tried) == 6
    assert acks.telemetry.drops == {Kind.REPLY: 600}


@leaping
async def test_an_answer_that_can_not_be_carried_is_dropped_at_once() -> None:
    """A reply or an event that AMQP can't carry is given up and counted, and its delivery acked."""
    publisher = FakePublisher()
    publisher.fault = Unsendable("its correlation_id is too long")
    publisher.refuses = lambda _: True
    async with running(publisher) as acks:
        delivery = acks.said(event("e"), reply("r"))
        await settle()
    assert delivery.acks == 1
    assert len(publisher.tried) == 2
    assert acks.outbox.rows == {}
    assert acks.telemetry.drops == {Kind.REPLY: 1, Kind.EVENT: 1}


@leaping
async def test_a_reply_whose_delivery_died_is_not_tried_again() -> None:
    """If the broker hands the message out anew, its refused reply is left to the next handling."""
    publisher = FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda _: True
    async with running(publisher) as acks:
        delivery = acks.said(reply("r"))
        await settle()
        delivery.alive = False
        await acks.pending.none()
    assert len(acks.tries("r")) == 1
    assert acks.telemetry.drops == {}


# --- refused events ---


@leaping
async def test_a_refused_event_is_stored_before_the_ack() -> None:
    """An event that is refused goes into the outbox; its delivery is acked once it is there."""
    publisher = FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda each: each.message_id == "e"
    async with running(publisher) as acks:
        acks.outbox.away = "down"
        delivery = acks.said(event("e"), reply("r"))
        await asyncio.sleep(60)
        assert delivery.acks == 0
        acks.outbox.away = None
        await acks.pending.none()
    assert delivery.acks == 1
    assert [each.message_id for each in acks.outbox.rows.values()] == ["e"]
    assert (len(acks.tries("e")), len(acks.tries("r"))) == (1, 1)
    assert acks.telemetry.drops == {}


@leaping
async def test_no_event_goes_past_those_that_wait() -> None:
    """Once an event of a key is refused, others of it go after it; other keys are published."""
    publisher = FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda each: each.message_id == "e0"
    async with running(publisher) as acks:
        acks.said(event("e0"))
        await settle()
        for number in range(1, 500):
            acks.said(event(f"e{number}"))
        other = acks.said(event("other", "token.dead"))
        await acks.pending.none()
        assert other.acks == 1
    stored = [each.message_id for each in acks.outbox.rows.values()]
    assert stored == [f"e{number}" for number in range(500)]
    assert [each.message_id for _, each in publisher.tried] == ["e0", "other"]


@leaping
async def test_what_another_replica_met_counts_here_too() -> None:
    """A key that a lease names is not published under; after one that does not, it is again."""
    async with running(FakePublisher()) as acks:
        acks.events.follow(frozenset({"token.resolved"}), 0.0)
        acks.said(event("e1"))
        await acks.pending.none()
        assert acks.publisher.tried == []
        # Asked for before the event was stored: it says nothing about it.
        acks.events.follow(frozenset(), -1.0)
        acks.said(event("e2"))
        await acks.pending.none()
        assert acks.publisher.tried == []
        await asyncio.sleep(1)
        acks.events.follow(frozenset(), 0.5)
        acks.said(event("e3"))
        await acks.pending.none()
    assert [each.message_id for _, each in acks.publisher.tried] == ["e3"]


@leaping
async def test_a_full_outbox_drops_the_newest() -> None:
    """Where there is no room the newest events are given up and counted, all deliveries acked."""
    async with running(FakePublisher()) as acks:
        acks.events.follow(frozenset({"token.resolved"}), 0.0)
        acks.outbox.room = 3
        deliveries = [acks.said(event(f"e{number}")) for number in range(5)]
        await acks.pending.none()
    assert {delivery.acks for delivery in deliveries} == {1}
    assert [each.message_id for each in acks.outbox.rows.values()] == ["e0", "e1", "e2"]
    assert acks.telemetry.drops == {Kind.EVENT: 2}


@leaping
async def test_an_event_whose_delivery_died_is_not_stored() -> None:
    """If the broker hands the message out anew, its event is told by the next handling."""
    async with running(FakePublisher()) as acks:
        acks.events.follow(frozenset({"token.resolved"}), 0.0)
        acks.outbox.away = "down"
        delivery, other = acks.said(event("e")), acks.said(event("other"))
        await settle()
        delivery.alive = False
        acks.outbox.away = None
        await acks.pending.none()
    assert [each.message_id for each in acks.outbox.rows.values()] == ["other"]
    assert (delivery.acks, other.acks) == (0, 1)


# --- what is said about it ---


@leaping
async def test_refusals_are_said_once_a_minute() -> None:
    """Whatever the number of keys and messages, the log has a line a minute, with what is known."""
    publisher = FakePublisher()
    publisher.fault = FULL
    publisher.refuses = lambda each: each.exchange == ANSWERS
    with capture_logs() as lines:
        async with running(publisher) as acks:
            for number in range(1_000):
                acks.said(reply(f"r{number}", f"resolution.reply.{number}"))
                await asyncio.sleep(0.1)
            await asyncio.sleep(200)
    assert {line["event"] for line in lines} == {"answers_refused"}
    assert len(lines) == 3
    first, *_ = lines
    assert (first["exchange"], first["reason"]) == (ANSWERS, "the queue is full")
    assert first["routing_key"].startswith("resolution.reply.")
    assert sum(line.get("reply_drops", 0) for line in lines) == 1_000
    assert sum(line.get("reply_refusals", 0) for line in lines) == len(publisher.tried)
