"""Servers on which arenas are laid out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.acceptance.stage import Stage, permissions
from tests.faults.arena import DELAYS, arena_on
from tests.schema import addresses
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import Topology, topology
from worker.settings.durations import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from tests.acceptance.stage import Simulator
    from tests.faults.arena import Arena
    from tests.servers import BrokerServer, PostgresServer


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker, a database with a migrated template, and a simulator.

    Attributes:
        template: The name of a migrated database, copied for each arena.
        keys: What `resolution-worker keygen` printed.
        home: An empty home directory.
    """

    broker: BrokerServer
    postgres: PostgresServer
    template: str
    simulator: Simulator
    keys: Mapping[str, str]
    home: Path

    @asynccontextmanager
    async def arena(
        self, seed: int, changed: Callable[[Topology], Topology] = lambda planned: planned
    ) -> AsyncIterator[Arena]:
        """An arena with a virtual host and a database of its own, until the block ends."""
        planned = topology({text: parse(text).seconds for text in DELAYS.split(",")})
        with self.broker.broker() as broker, self.postgres.database(self.template) as database:
            await declare(broker.url, changed(planned))
            web, worker = map(permissions, ("resolution_web", "resolution_worker"))
            stage = Stage(
                broker,
                addresses(database),
                self.simulator,
                self.keys,
                self.home,
                broker.user(web),
                broker.user(worker),
            )
            async with arena_on(stage, seed, (database.log,)) as arena:
                yield arena
