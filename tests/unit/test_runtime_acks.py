"""The only place that acks: what was said is confirmed first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.clock import leaping, settle
from tests.fakes.outside import FakeCourier, FakeDelivery
from tests.fakes.records import incoming
from worker.core.outgoing import Outgoing
from worker.runtime.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ports import NotConfirmed


def message(name: str) -> Outgoing:
    """A message to send."""
    return Outgoing("resolution.events", "token.resolved", b"{}", name)


@asynccontextmanager
async def running(courier: FakeCourier) -> AsyncIterator[Outbox]:
    """An outbox at work."""
    outbox = Outbox(courier)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.wait([task])


@leaping
async def test_an_ack_follows_its_confirms() -> None:
    """Nothing is acked before all that is said about it is confirmed; then it is told as done."""
    courier, done = FakeCourier(), asyncio.Event()
    courier.latency = 1.0
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, (message("event"), message("reply")), done.set)
        await asyncio.sleep(0.9)
        assert (delivery.acks, done.is_set(), outbox.pending.count) == (0, False, 1)
        await asyncio.sleep(0.2)
        assert (delivery.acks, done.is_set(), outbox.pending.count) == (1, True, 0)


@leaping
async def test_what_is_not_confirmed_is_tried_again() -> None:
    """A refused message is tried again, at growing intervals, until it is confirmed."""
    courier = FakeCourier()
    courier.refuses = lambda each: each.message_id == "full" and len(courier.tried) < 12
    async with running(courier) as outbox:
        good, full = FakeDelivery(incoming()), FakeDelivery(incoming())
        outbox.put(good, (message("good"),))
        outbox.put(full, (message("full"),))
        await settle()
        assert (good.acks, full.acks) == (1, 0)
        await outbox.pending.none()
        assert full.acks == 1
    times = [time for time, each in courier.tried if each.message_id == "full"]
    assert len(times) == 11
    assert 0 < times[-1] <= 50


@leaping
async def test_a_queue_that_takes_nothing_for_a_minute_is_given_up() -> None:
    """A message that is refused all the time goes elsewhere then, and its delivery is acked."""
    courier = FakeCourier()
    courier.refuses = lambda each: each.message_id == "retry"
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, (message("retry"),), otherwise=(message("back"),))
        await asyncio.sleep(55)
        assert delivery.acks == 0
        await outbox.pending.none()
        assert delivery.acks == 1
    assert courier.tried[-1][1].message_id == "back"
    assert 60 < courier.tried[-1][0] < 75


@leaping
async def test_one_refused_message_holds_its_ack_back() -> None:
    """If the reply is refused and the event is not, both are sent again before the ack."""
    courier = FakeCourier()
    courier.refuses = lambda each: each.message_id == "reply" and len(courier.tried) <= 2
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, (message("event"), message("reply")))
        await settle()
        assert delivery.acks == 0
        await outbox.pending.none()
    assert delivery.acks == 1
    assert [each.message_id for each in courier.sent].count("event") == 2


@leaping
async def test_who_wants_it_back_gets_it_back() -> None:
    """A parcel whose sender wants it back is tried once, and stays pending until it is returned."""
    courier, told = FakeCourier(), list[tuple[str, int]]()
    courier.refuses = lambda each: each.message_id == "full"
    async with running(courier) as outbox:
        full, good = FakeDelivery(incoming()), FakeDelivery(incoming())

        def refused(why: NotConfirmed) -> None:
            told.append((str(why), outbox.pending.count))

        outbox.put(full, (message("full"),), refused=refused)
        outbox.put(good, (message("good"),), refused=refused)
        await outbox.pending.none()
        assert told == [("refused", 2)]
        await asyncio.sleep(60)
    assert (full.acks, good.acks) == (0, 1)
    assert len(courier.tried) == 2


@leaping
async def test_a_delivery_that_died_is_dropped() -> None:
    """For a delivery that the broker hands out anew nothing more is sent, acked or told."""
    courier, done = FakeCourier(), asyncio.Event()
    courier.refuses = lambda _: True
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, (message("m"),), done.set)
        await settle()
        delivery.alive = False
        courier.refuses = lambda _: False
        await outbox.pending.none()
    assert (delivery.acks, done.is_set(), courier.sent) == (0, False, [])


@leaping
async def test_a_delivery_that_dies_while_it_is_confirmed_is_not_acked() -> None:
    """If the channel goes between publish and confirm nothing is acked nor stays pending."""
    courier, done = FakeCourier(), asyncio.Event()
    courier.latency = 1.0
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, (message("m"),), done.set)
        await asyncio.sleep(0.5)
        delivery.alive = False
        await outbox.pending.none()
    assert (delivery.acks, done.is_set()) == (0, False)


@leaping
async def test_what_needs_no_words_is_acked_at_once() -> None:
    """A delivery about which nothing has to be said is acked without publishing."""
    courier = FakeCourier()
    async with running(courier) as outbox:
        delivery = FakeDelivery(incoming())
        outbox.put(delivery, ())
        await outbox.pending.none()
    assert delivery.acks == 1
    assert courier.batches == []


@leaping
async def test_many_parcels_travel_in_bounded_batches() -> None:
    """A thousand parcels go in batches of at most 100, four at once, and each is acked once."""
    courier = FakeCourier()
    courier.latency = 1.0
    deliveries = [FakeDelivery(incoming()) for _ in range(1_000)]
    async with running(courier) as outbox:
        for number, delivery in enumerate(deliveries):
            outbox.put(delivery, (message(f"m{number}"),))
        await asyncio.sleep(0.5)
        assert courier.batches == [100] * 4
        await outbox.pending.none()
        assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    assert {delivery.acks for delivery in deliveries} == {1}
    assert len(courier.sent) == 1_000
