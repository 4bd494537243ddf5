"""Messages that came back often: handled as any other while no process died, with care after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog.testing

from harness.connections import drop_connections
from tests.integration.hands import WANTED, consuming, publish, take_in_vain, until
from worker.adapters.rabbitmq import consuming as consuming_link
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import BACKLOG
from worker.core.records import Lane
from worker.core.token.poison import Mode

if TYPE_CHECKING:
    import pytest

    from harness.servers import Broker
    from worker.adapters.rabbitmq.consuming import ConsumingLink


def modes(link: ConsumingLink) -> set[Mode]:
    """How the queues' messages are taken."""
    return {consumer._guard.mode for consumer in link._consumers}


async def test_what_came_back_for_lost_connections_is_taken_at_once(broker: Broker) -> None:
    """However often connections were lost, while no process died all lanes begin at full speed."""
    async with consuming(broker, 50) as (link, hand):
        await publish(broker, 60)
        await publish(broker, 60, "backlog")
        await hand.holds(102)
        for times in range(1, 4):
            await drop_connections(broker)
            await until(lambda times=times: hand.lost == times and len(hand.held) == 100)  # type: ignore[misc]
            assert modes(link) == {Mode.NORMAL}
            assert link.suspected == 0
        assert sum(delivery.came_back_often for delivery in hand.held) == 100


async def test_after_a_death_what_came_back_is_taken_in_growing_groups(broker: Broker) -> None:
    """One message first, then as many more as were settled; the next lane begins after that."""
    await declare(broker.url, WANTED)
    await publish(broker, 15)
    await publish(broker, 15, "backlog")
    await take_in_vain(broker, 15)
    async with consuming(broker, 50, deaths=1) as (link, hand):
        await hand.holds(1)
        assert (modes(link), link.suspected, len(link._consumers)) == ({Mode.CAUTIOUS}, 1, 1)
        while hand.acked < 15:
            await until(lambda: bool(hand.held))
            await asyncio.sleep(0.1)
            assert link.suspected == len(hand.held) <= 2 * hand.acked + 1
            await hand.ack(len(hand.held))
        await hand.holds(15)
        assert {delivery.lane for delivery in hand.held} == {Lane.BACKLOG}
        assert hand.redelivered == 15


async def test_a_message_without_a_history_ends_the_caution(broker: Broker) -> None:
    """Once nothing suspected is in hand and a fresh message came, as many are taken as wanted."""
    await declare(broker.url, WANTED)
    await publish(broker, 3)
    await take_in_vain(broker, 3)
    await publish(broker, 60)
    async with consuming(broker, 50, deaths=1) as (link, hand):
        await hand.holds(1)
        while hand.acked < 3:
            await until(lambda: bool(hand.held))
            assert len(hand.held) <= 4
            await hand.ack(1)
        await until(lambda: len(hand.held) >= 50)
        assert Mode.NORMAL in modes(link)
        assert link.suspected == 0


async def test_what_came_back_is_set_aside_while_others_are_in_hand(broker: Broker) -> None:
    """After a death suspected messages wait for all others, and are then handled in groups."""
    async with consuming(broker, 50, deaths=2) as (link, hand):
        await publish(broker, 4)
        await hand.holds(4)
        link.set_prefetch(Lane.LIVE, 0)
        await until(lambda: link._consumers[0]._tag is None)
        await publish(broker, 7)
        await take_in_vain(broker, 7)
        with structlog.testing.capture_logs() as logs:
            link.set_prefetch(Lane.LIVE, 50)
            await until(lambda: link.suspected == 7)
            await publish(broker, 5)
            await hand.holds(4)
            assert Mode.ISOLATED in modes(link)
            await hand.ack(3)
            await hand.holds(1)
            for group in (1, 2, 4):
                await hand.ack(len(hand.held))
                await hand.holds(group)
            await hand.ack(4)
            await until(lambda: len(hand.held) == 5)
        assert (link.suspected, hand.lost) == (0, 0)
    (begun,) = [line for line in logs if line["event"] == "poison_suspected"]
    assert (begun["processes_died"], begun["log_level"]) == (2, "warning")
    assert 1 <= begun["messages"] <= 7


async def test_the_log_tells_when_suspicion_is_over(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends are told, the second with how many messages were handled with care."""
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.2)
    await declare(broker.url, WANTED)
    await publish(broker, 6)
    await take_in_vain(broker, 6)
    with structlog.testing.capture_logs() as logs:
        async with consuming(broker, 50, deaths=1) as (_, hand):
            while hand.acked < 6:
                await until(lambda: bool(hand.held))
                await hand.ack(1)
            await until(lambda: any("no_longer" in line["event"] for line in logs))
    told = [line for line in logs if "suspected" in line["event"]]
    begun, over = (line["messages"] for line in told)
    assert 1 <= begun <= over == 6


async def test_once_deaths_are_long_ago_what_was_set_aside_is_handled(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no death known any more everything set aside is handed out, and more is taken."""
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consuming_link, "_UNKNOWN_SECONDS", 0.0)
    await declare(broker.url, WANTED)
    await publish(broker, 9)
    await take_in_vain(broker, 9)
    async with consuming(broker, 50, deaths=1) as (link, hand):
        await hand.holds(1)
        hand.deaths = 0
        await until(lambda: len(hand.held) == 9)
        assert (modes(link), link.suspected) == ({Mode.NORMAL}, 0)
        await until(lambda: len(link._consumers) == 2)


async def test_a_suspect_that_is_held_does_not_keep_consuming_from_being_up(
    broker: Broker,
) -> None:
    """While the first message may end the process the rest waits, yet the link says it is up."""
    told: list[str | None] = []
    await declare(broker.url, WANTED)
    await publish(broker, 1)
    await take_in_vain(broker, 1)
    async with consuming(broker, 10, told.append, deaths=1) as (link, hand):
        await until(lambda: len(hand.held) == 1)
        await asyncio.sleep(0.5)
        assert hand.held[0].came_back_often
        assert len(link._consumers) == 1
        assert told[-1] is None
        assert link.ready[BACKLOG] == 0


async def test_a_process_that_begins_takes_what_came_back_with_care(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How the process before ended is not known at once: what came back often is taken alone."""
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consuming_link, "_UNKNOWN_SECONDS", 2.0)
    await declare(broker.url, WANTED)
    await publish(broker, 9)
    await take_in_vain(broker, 9)
    async with consuming(broker, 50) as (link, hand):
        await hand.holds(1)
        assert (modes(link), link.suspected) == ({Mode.CAUTIOUS}, 1)
        await until(lambda: len(hand.held) == 9)  # by now a death would be known
        assert (modes(link), link.suspected) == ({Mode.NORMAL}, 0)


async def test_a_process_that_loses_its_first_connection_trusts_what_comes_back(
    broker: Broker,
) -> None:
    """What comes back to it is what it held itself, and nothing died of that."""
    async with consuming(broker, 50) as (link, hand):
        await publish(broker, 20)
        await hand.holds(20)
        for times in (1, 2):
            await drop_connections(broker)
            await until(lambda times=times: hand.lost == times and len(hand.held) == 20)  # type: ignore[misc]
            assert modes(link) == {Mode.NORMAL}
        assert all(delivery.came_back_often for delivery in hand.held)
