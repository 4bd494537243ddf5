"""A node alone in its cluster shows queues that nobody can use."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.servers import RABBITMQ_SERIES, rabbitmq_home
from worker.adapters.rabbitmq.declaration import declare, show
from worker.adapters.rabbitmq.probing import depths, looking, readable
from worker.adapters.rabbitmq.topology import PARKED, topology
from worker.lab.servers.management import Management
from worker.lab.servers.node import broker_spec, epmd_spec, node_at
from worker.lab.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.lab.servers.node import Node

WANTED = topology({"5s": 5.0})


@pytest.mark.long
@pytest.mark.parametrize("series", [RABBITMQ_SERIES[0], RABBITMQ_SERIES[-1]])
async def test_a_node_without_a_majority_is_told(series: str, tmp_path: Path) -> None:
    """Every other question it answers as if all were well; its queues can't be read."""
    async with _two_nodes(series, tmp_path) as (url, other):
        await declare(url, WANTED)
        assert await _readable(url)
        other.end()
        async with asyncio.timeout(60):
            while await _readable(url):  # noqa: ASYNC110 - until its death is noticed
                await asyncio.sleep(0.5)
        assert {row.state for row in await show(url, WANTED)} == {"ok"}


async def _readable(url: str) -> bool:
    async with looking(url, name="looking", seconds=10) as connection:
        return await readable(connection, await depths(connection, [PARKED]))


@asynccontextmanager
async def _two_nodes(series: str, directory: Path) -> AsyncIterator[tuple[str, Server]]:
    """A cluster; the address of one node, and the process of the other."""
    programs, password = rabbitmq_home(series) / "bin", secrets.token_hex(8)
    one = node_at(directory / "one", "owner", password)
    nodes = (one, replace(node_at(directory / "other", "owner", password), epmd=one.epmd))
    for node in nodes:
        _join(node, nodes)
    names = Server(epmd_spec(one, programs))
    first, other = (Server(broker_spec(node, programs, _management(node))) for node in nodes)
    await names.start(within=10)
    try:
        await asyncio.gather(first.start(), other.start())
        yield f"amqp://owner:{password}@127.0.0.1:{one.amqp}/", other
    finally:
        for server in (other, first, names):
            server.end()


def _join(node: Node, nodes: tuple[Node, Node]) -> None:
    cookie = node.directory / ".erlang.cookie"
    cookie.write_text("oneandthesame")
    cookie.chmod(0o400)
    with (node.directory / "rabbitmq.conf").open("a") as configuration:
        configuration.write("cluster_formation.peer_discovery_backend = classic_config\n")
        for number, each in enumerate(nodes, 1):
            name = each.environment["RABBITMQ_NODENAME"]
            configuration.write(f"cluster_formation.classic_config.nodes.{number} = {name}\n")


def _management(node: Node) -> Management:
    return Management(f"http://127.0.0.1:{node.http}", node.user, node.password)
