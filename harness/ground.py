"""Servers on which systems are set up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.installation import Installation, bare_environment, product
from harness.schema import addresses, prepare
from harness.system import DELAYS, system_on
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import Topology, topology
from worker.core.durations import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from harness.programs import Simulator
    from harness.servers import BrokerServer, PostgresServer
    from harness.system import System


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker, a database with a migrated template, and a simulator.

    Attributes:
        template: The name of a migrated database, copied for each system.
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
    async def stage(
        self,
        changed: Callable[[Topology], Topology] = lambda planned: planned,
        delays: str = DELAYS,
    ) -> AsyncIterator[Installation]:
        """An installation with a virtual host and a database of its own, until the block ends.

        Whoever starts programs on it clears it.
        """
        planned = topology({text: parse(text).seconds for text in delays.split(",")})
        with self.broker.broker() as broker, self.postgres.database(self.template) as database:
            await declare(broker.url, changed(planned))
            web, worker = map(broker.shipped, ("CALLER", "resolution_worker"))
            yield Installation(
                broker,
                addresses(database),
                self.simulator,
                self.keys,
                self.home,
                web,
                worker,
            )

    @asynccontextmanager
    async def system(
        self, seed: int, changed: Callable[[Topology], Topology] = lambda planned: planned
    ) -> AsyncIterator[System]:
        """A system with a virtual host and a database of its own, until the block ends."""
        async with (
            self.stage(changed) as stage,
            system_on(stage, seed, (self.postgres.log,)) as system,
        ):
            yield system


@contextmanager
def migrated(server: PostgresServer) -> Iterator[str]:
    """A migrated database of a server, to be copied, until the block ends: its name."""
    with server.database() as database:
        with ThreadPoolExecutor(1) as executor:  # whoever asks may have a loop of its own
            executor.submit(asyncio.run, prepare(database)).result()
        yield database.name


def sealing_pair(home: Path) -> dict[str, str]:
    """What `resolution-worker keygen` prints."""
    lines = product("keygen", environment=bare_environment(home)).splitlines()
    return dict(line.split("=", 1) for line in lines)
