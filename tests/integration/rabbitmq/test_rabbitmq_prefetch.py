"""How many messages the broker delivers ahead: changed while consuming, without losing any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness.connections import drop_connections
from tests.integration.hands import WANTED, consuming, publish, take_in_vain, until
from worker.adapters.rabbitmq import consumer
from worker.adapters.rabbitmq import consuming as consuming_link
from worker.adapters.rabbitmq.declaration import declare
from worker.core.records import Lane

if TYPE_CHECKING:
    from harness.servers import Broker

RATE_LIMIT_SECONDS = 0.5


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes may follow each other more quickly than at work."""
    monkeypatch.setattr(consumer, "_LENT_SECONDS", RATE_LIMIT_SECONDS)


async def test_more_is_lent_at_once(broker: Broker) -> None:
    """A greater number reaches a consumer at work, and what it holds stays valid."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 200)
        await hand.holds(6)  # the first came alone, to a consumer of its own
        link.set_prefetch(Lane.LIVE, 50)
        await hand.holds(56)
        while hand.acked < 200:
            await hand.ack(10)
            await asyncio.sleep(0.01)
            await until(lambda: bool(hand.held) or hand.acked == 200)
        assert hand.redelivered == 0
        await link.settle()
        await publish(broker, 1)
        await hand.holds(1)


async def test_less_is_lent_once_what_is_held_is_settled(broker: Broker) -> None:
    """With a smaller number what is held stays so, and no more than that number follows it."""
    async with consuming(broker, 40) as (link, hand):
        await publish(broker, 300)
        await hand.holds(41)
        link.set_prefetch(Lane.LIVE, 4)
        await hand.holds(45)
        await hand.ack(41)
        await hand.holds(4)
        await hand.ack(3)
        await hand.holds(4)
        assert hand.redelivered == 0


async def test_what_was_lent_before_counts_towards_the_bound(broker: Broker) -> None:
    """No more is lent than there is room for beside what is held; without room it is waited for."""
    async with consuming(broker, 40, most=50) as (link, hand):
        await publish(broker, 300)
        await hand.holds(41)
        link.set_prefetch(Lane.LIVE, 100)
        await until(lambda: link._consumers[0]._tag is None)
        await hand.ack(15)
        await hand.holds(26)
        await hand.ack(1)
        await hand.holds(50)
        link.set_prefetch(Lane.LIVE, 0)
        await until(lambda: link._consumers[0]._tag is None)
        await hand.ack(10)
        link.set_prefetch(Lane.LIVE, 5)
        await hand.holds(45)
        assert hand.redelivered == 0


async def test_small_changes_and_other_lanes_leave_a_consumer_alone(broker: Broker) -> None:
    """Only a change of more than a factor of two, and of its own lane, begins a consumer anew."""
    async with consuming(broker, 10) as (link, hand):
        await publish(broker, 100)
        await hand.holds(11)
        for _ in range(20):
            link.set_prefetch(Lane.LIVE, 20)
            link.set_prefetch(Lane.LIVE, 6)
            link.set_prefetch(Lane.BACKLOG, 90)
            await asyncio.sleep(0.02)
        await hand.holds(11)


async def test_changes_are_rate_limited_and_not_forgotten(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change waits its time, however often it is asked for, and is made then."""
    monkeypatch.setattr(consumer, "_LENT_SECONDS", 3.0)
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 300)
        await hand.holds(6)
        link.set_prefetch(Lane.LIVE, 20)
        await hand.holds(26)
        link.set_prefetch(Lane.LIVE, 100)
        await asyncio.sleep(1.5)
        assert len(hand.held) == 26
        await until(lambda: len(hand.held) == 126)


async def test_a_new_connection_begins_with_what_was_wanted_last(broker: Broker) -> None:
    """After a loss as many are lent as were asked for before it."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 100)
        await hand.holds(6)
        link.set_prefetch(Lane.LIVE, 30)
        await hand.holds(36)
        await hand.ack(36)
        await hand.holds(30)
        assert await drop_connections(broker)
        await until(lambda: hand.lost == 1)
        await until(lambda: bool(hand.held))
        await hand.holds(30)


async def test_after_the_end_nothing_is_lent_anew(broker: Broker) -> None:
    """A link that was stopped in the midst of a change is handed nothing more."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 300)
        await hand.holds(6)
        link.set_prefetch(Lane.LIVE, 100)
        await asyncio.sleep(0)  # the change begins
        await link.stop()
        await asyncio.sleep(0.5)
        held = len(hand.held)
        await hand.ack(held)
        link.set_prefetch(Lane.LIVE, 300)
        await asyncio.sleep(1)
        assert hand.held == []


async def test_lending_anew_does_not_disturb_the_careful(broker: Broker) -> None:
    """While suspected messages are handled a few at a time, another number waits until they are."""
    await declare(broker.url, WANTED)
    await publish(broker, 5)
    await take_in_vain(broker, 5)
    await publish(broker, 40)
    async with consuming(broker, 10, deaths=1) as (link, hand):
        most = 0
        while hand.acked < 45:
            link.set_prefetch(Lane.LIVE, 3 if hand.acked % 2 else 30)
            await until(lambda: bool(hand.held))
            suspected = sum(delivery.came_back_often for delivery in hand.held)
            most = max(most, suspected and len(hand.held))
            await hand.ack(1)
        assert (
            most <= 6
        )  # groups of one, two and four, and two that were lent before the last change
        await link.settle()
        assert hand.lost == 0


async def test_a_lane_is_held_and_released_at_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 0 nothing more is taken from a lane, what was lent stays; the other lane goes on."""
    monkeypatch.setattr(consumer, "_LENT_SECONDS", 1_000.0)
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(consuming_link, "_STARVING_SECONDS", 0.3)
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 20)
        await hand.holds(6)
        link.set_prefetch(Lane.LIVE, 50)  # the one change that the rate limit allows
        await hand.holds(20)
        link.set_prefetch(Lane.LIVE, 0)
        await until(lambda: link._consumers[0]._tag is None)
        await publish(broker, 20)
        await hand.ack(20)
        await publish(broker, 3, "backlog")
        await hand.holds(3)
        await asyncio.sleep(1)  # some looks for consumers that stand still
        assert {delivery.lane for delivery in hand.held} == {Lane.BACKLOG}
        assert (hand.lost, dict(+link.stalls), link.stands_still) == (0, {}, False)
        assert link.ready["resolution.tokens"] == 20
        for prefetch, held in ((7, 10), (0, 10), (3, 13)):
            link.set_prefetch(Lane.LIVE, prefetch)
            await hand.holds(held)
        assert (hand.lost, hand.redelivered) == (0, 0)


async def test_a_lane_that_is_held_stays_so_over_a_lost_connection(broker: Broker) -> None:
    """A new connection takes nothing from it either, until it is released."""
    async with consuming(broker, 5) as (link, hand):
        await until(lambda: len(link._consumers) == 2)
        link.set_prefetch(Lane.LIVE, 0)
        await publish(broker, 10)
        await publish(broker, 2, "backlog")
        await hand.holds(2)
        assert await drop_connections(broker)
        await until(lambda: hand.lost == 1 and bool(hand.held))
        await hand.holds(2)
        link.set_prefetch(Lane.LIVE, 5)
        await hand.holds(7)


async def test_looking_after_consumers_leaves_nothing_behind(broker: Broker) -> None:
    """However often consumers are looked after, nothing waits for the ends of their channels."""

    def observers() -> list[int]:
        closings: list[Any] = [getattr(each.wire, "_closing") for each in link._consumers]  # noqa: B009 - no public name
        return [len(closing._callbacks or ()) for closing in closings]

    async with consuming(broker, 10) as (link, _):
        await until(lambda: len(link._consumers) == 2)
        before = observers()
        for _ in range(50):
            link._attention.set()
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert observers() == before
