"""Events that wait for an observer: one replica tries the oldest, and then the rest follows."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.fakes.clock import leaping
from tests.fakes.outside import FakeDelivery, FakeOutbox, FakePublisher, FakeTelemetry
from tests.fakes.records import incoming
from tests.fakes.worker import working
from worker.core.exceptions import BrokerLost, Refused, RowsRefused, Unsendable
from worker.core.records import Fault, FaultKind, Status
from worker.core.token.outgoing import EVENTS, Kind, Outgoing
from worker.runtime.token.answer_log import AnswerLog
from worker.runtime.token.event_outbox import EventOutbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

KEY = "token.resolved"
KEYS = frozenset({KEY})


def event(name: str, key: str = KEY) -> Outgoing:
    """An event."""
    return Outgoing(EVENTS, key, b"{}", name)


class Sender:
    """An outbox with what is around it; its leases come each second."""

    def __init__(self, waiting: int = 0) -> None:
        self.publisher = FakePublisher()
        self.publisher.fault = Refused("the queue is full")
        self.table = FakeOutbox()
        self.telemetry = FakeTelemetry()
        self.events = EventOutbox(self.table, self.publisher, AnswerLog(self.telemetry))
        for number in range(waiting):
            self.table.rows[-waiting + number] = event(f"e{number}")

    async def lease(self) -> None:
        """Tell each second what is in the table."""
        while True:
            self.events.follow(self.table.keys, asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    async def emptied(self, seconds: float = 1_000.0) -> float:
        """Wait until nothing is left in the table; when that was."""
        async with asyncio.timeout(seconds):
            while self.table.rows:  # noqa: ASYNC110 - on virtual time
                await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time()

    @property
    def probes(self) -> list[float]:
        """When something was published."""
        return sorted({at for at, _ in self.publisher.tried})


@asynccontextmanager
async def sending(waiting: int = 0) -> AsyncIterator[Sender]:
    """A sender at work."""
    sender = Sender(waiting)
    tasks = [asyncio.create_task(part) for part in (sender.events.run(), sender.lease())]
    try:
        yield sender
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@leaping
async def test_the_oldest_is_tried_alone_and_ever_more_rarely() -> None:
    """While it is refused one event is published at a time, after 1, 2, 4, 8, 10, 10 seconds."""
    async with sending(waiting=100) as sender:
        sender.publisher.refuses = lambda _: True
        await asyncio.sleep(60)
        waits = [later - earlier for earlier, later in pairwise([0.0, *sender.probes])]
        assert waits[:7] == pytest.approx([1, 2, 4, 8, 10, 10, 10], abs=0.1)
        assert {each.message_id for _, each in sender.publisher.tried} == {"e0"}
        assert set(sender.publisher.batches) == {1}
        assert len(sender.table.rows) == 100


@leaping
async def test_the_rest_follows_in_order_once_it_is_taken() -> None:
    """After a probe that is taken come 2, 4, 8 and more, in order, each once, up to 16 at once."""
    async with sending(waiting=300) as sender:
        sender.publisher.latency = 0.01
        assert await sender.emptied() < 2
    assert sender.publisher.batches == [1, 2, 4, 8, *[16] * 17, 13]
    assert [each.message_id for each in sender.publisher.sent] == [f"e{n}" for n in range(300)]
    assert sender.telemetry.drops == {}


@leaping
async def test_a_refusal_begins_anew_with_one() -> None:
    """When a batch is refused in part, what was taken is removed, and one is tried next."""
    async with sending(waiting=20) as sender:
        room = iter([True] * 5)
        sender.publisher.refuses = lambda _: not next(room, False)
        await asyncio.sleep(1.5)
        assert sender.publisher.batches == [1, 2, 4]
        sender.publisher.refuses = lambda _: False
        await sender.emptied()
    assert sender.publisher.batches == [1, 2, 4, 1, 2, 2, *[1] * 10]
    sent = [each.message_id for each in sender.publisher.sent]
    assert sent == [f"e{n}" for n in range(20)]
    tried = [each.message_id for _, each in sender.publisher.tried]
    assert max(map(tried.count, tried)) == 2


@leaping
async def test_a_lost_connection_is_no_refusal() -> None:
    """When nobody knows what became of an event it is tried a second later, however often."""
    async with sending(waiting=3) as sender:
        sender.publisher.fault = BrokerLost("connection lost")
        sender.publisher.refuses = lambda _: len(sender.publisher.tried) < 20
        await sender.emptied()
    waits = [later - earlier for earlier, later in pairwise(sender.probes[:19])]
    assert waits == pytest.approx([1.0] * 18, abs=0.1)


@leaping
async def test_keys_do_not_wait_for_each_other() -> None:
    """While events of one key are refused those of another are sent."""
    async with sending(waiting=5) as sender:
        sender.table.rows |= {100 + n: event(f"d{n}", "token.dead") for n in range(100)}
        sender.publisher.refuses = lambda each: each.routing_key == KEY
        await asyncio.sleep(3)
        assert sender.table.keys == KEYS


@leaping
async def test_another_replica_has_the_turn() -> None:
    """While another replica sends this one publishes nothing, and takes over when it can."""
    async with sending(waiting=3) as sender:
        sender.table.others = True
        await asyncio.sleep(60)
        assert sender.publisher.tried == []
        assert sender.table.asked < 30
        sender.table.others = False
        assert await sender.emptied() < 60 + 7


@leaping
async def test_a_database_that_is_away_is_waited_for() -> None:
    """While the database is away nothing is sent; what was sent is removed when it is back."""
    async with sending(waiting=3) as sender:
        await asyncio.sleep(0.99)
        sender.publisher.latency = 0.1
        await asyncio.sleep(0.05)
        sender.table.away = "down"  # between the first confirm and its removal
        await asyncio.sleep(60)
        assert len(sender.publisher.sent) == 1
        sender.table.away = None
        await sender.emptied()
    assert [each.message_id for each in sender.publisher.sent] == ["e0", "e1", "e2"]


@leaping
async def test_what_can_never_be_sent_holds_up_nothing() -> None:
    """An event that AMQP can't carry is given up and counted; so are those that are too old."""
    async with sending(waiting=3) as sender:
        sender.publisher.fault = Unsendable("too long")
        sender.publisher.refuses = lambda each: each.message_id == "e0"
        sender.table.expired = 7
        await sender.emptied()
    assert [each.message_id for each in sender.publisher.sent] == ["e1", "e2"]
    assert sender.telemetry.drops == {Kind.EVENT: 8}


@leaping
async def test_a_late_confirmation_is_waited_for() -> None:
    """An event whose confirmation is late is removed once it comes, not before."""
    async with sending(waiting=2) as sender:
        sender.publisher.late = lambda each: each.message_id == "e0"
        await asyncio.sleep(3)
        assert len(sender.table.rows) == 2
        ((_, future),) = sender.publisher.futures
        future.set_result(None)
        await sender.emptied()
    assert len(sender.publisher.tried) == 2


@leaping
async def test_an_idle_fleet_asks_nothing() -> None:
    """Where nothing is refused the database is never asked about it."""
    async with sending() as sender:
        await asyncio.sleep(3_600)
        assert await sender.events.count() == 0
        assert sender.table.asked == 0


@leaping
async def test_a_row_that_the_database_refuses_takes_no_other_with_it() -> None:
    """Of a batch with one poison row all others are stored, in order, and it alone is dropped."""
    sender = Sender()
    add = sender.table.add

    async def picky(events: Sequence[Outgoing]) -> int:
        if any(each.message_id == "poison" for each in events):
            raise RowsRefused("no")
        return await add(events)

    sender.table.add = picky  # type: ignore[method-assign]
    storing = asyncio.create_task(sender.events._store_batches())
    stored: list[str] = []
    for name in ("a", "b", "poison", "c", "d"):
        sender.events.put(event(name), FakeDelivery(incoming()), partial(stored.append, name))
    await asyncio.sleep(1)
    storing.cancel()
    assert [each.message_id for each in sender.table.rows.values()] == ["a", "b", "c", "d"]
    assert sorted(stored) == ["a", "b", "c", "d", "poison"]
    assert sender.telemetry.drops == {Kind.EVENT: 1}


@leaping
async def test_a_worker_goes_on_while_its_events_are_refused() -> None:
    """With events of a status refused all is settled and acked; they are told once taken again."""
    async with working() as worker:
        worker.publisher.fault = Refused("the queue is full")
        worker.publisher.refuses = lambda each: each.routing_key == KEY
        worker.aws.script("bad", Fault(FaultKind.TOKEN, "X", "no", Status.REJECTED))
        deliveries = [worker.deliver(f"t{number}") for number in range(200)]
        rejected = worker.deliver("bad")
        await worker.all_acked(2.0)
        assert worker.event(rejected)["status"] == "rejected"
        assert len(worker.outbox.rows) == 200
        await asyncio.sleep(60)
        worker.publisher.refuses = lambda _: False
        await asyncio.sleep(12)
        assert [len(worker.events(delivery)) for delivery in deliveries] == [1] * 200
        await asyncio.sleep(3)
        late = worker.deliver("late")
        await worker.all_acked(2.0)
        assert worker.event(late)["status"] == "resolved"
        assert worker.outbox.rows == {}
