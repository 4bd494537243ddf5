"""RabbitMQ's later series: each starts here, and takes our topology."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from harness.servers import RABBITMQ_SERIES, rabbitmq_home, rabbitmq_homes
from worker.adapters.rabbitmq.connection import connected, user_of
from worker.adapters.rabbitmq.declaration import declare, show
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.core.token.outgoing import Outgoing
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from pathlib import Path

    from worker.lab.servers import RabbitMQ

WANTED = topology({"5s": 5.0})


@pytest.mark.parametrize("series", RABBITMQ_SERIES[1:])
@pytest.mark.sampled(2)
async def test_a_later_series_serves_our_topology(series: str, tmp_path: Path) -> None:
    """A private broker of a later series takes our topology and keeps it and a message.

    All other tests run on the first.
    """
    async with rabbitmq(tmp_path / "server", home=rabbitmq_home(series)) as broker:
        version = broker.management.call("GET", "overview")["rabbitmq_version"]
        assert version.startswith(f"{series}.")
        assert await _declared(broker.amqp_url) == {"created", "bound"}
        await _publish(broker.amqp_url)
        await _publish(_somebody(broker), signed=True)
        await broker.server.stop()
        await broker.server.start()
        assert await _declared(broker.amqp_url) == {"unchanged", "bound"}
        rows = {row.name: row for row in await show(broker.amqp_url, WANTED)}
        assert {row.state for row in rows.values()} == {"ok"}
        assert rows["resolution.tokens"].messages == 2
        assert "resolution.tokens\tquorum" in await broker.ctl("list_queues", "name", "type")


async def _declared(url: str) -> set[str]:
    return {one.action for one in await declare(url, WANTED)}


async def _publish(url: str, *, signed: bool = False) -> None:
    async with connected(url, name="publishing") as connection:
        publisher = await Publisher.open(connection)
        message = Outgoing("resolution", "token", b"{}", "m", mandatory=True)
        # The broker refuses every other name than its own for whoever publishes.
        await publisher.publish(replace(message, user_id=user_of(url)) if signed else message)


def _somebody(broker: RabbitMQ) -> str:
    """The address of a new user whose name has characters that an address has to quote."""
    name = "Jürgen @ shop: 100 %41/+?#[x]"
    broker.management.call("PUT", "users", name, body={"password": "secret", "tags": ""})
    rights = {"configure": "^$", "write": "^resolution$", "read": "^$"}
    broker.management.call("PUT", "permissions", "/", name, body=rights)
    where = urlsplit(broker.amqp_url)
    return f"amqp://{quote(name, safe='')}:secret@{where.hostname}:{where.port}/"


@pytest.mark.parametrize("named", ["4.0=/one,4.3=/other", " 4.0=/one , 4.3=/other "])
def test_homes_from_the_environment(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installations that the environment names are used, before those that are found."""
    monkeypatch.setenv("RABBITMQ_HOMES", named)
    homes = rabbitmq_homes()
    assert {series: str(homes[series]) for series in ("4.0", "4.3")} == {
        "4.0": "/one",
        "4.3": "/other",
    }
