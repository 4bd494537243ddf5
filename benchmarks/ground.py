"""Private servers and a simulator, prepared as an operator prepares them, for long runs."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ground import Ground
from harness.installation import bare_environment, product, simulating
from harness.schema import prepare
from harness.servers import BrokerServer, PostgresServer
from worker.lab.servers import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.lab.servers import Services


@dataclass(frozen=True, slots=True)
class Laid:
    """A ground, and the servers under it, which may be hurt."""

    ground: Ground
    services: Services


@asynccontextmanager
async def laid(*simulator: str) -> AsyncIterator[Laid]:
    """Servers of one's own until the block ends.

    Args:
        simulator: Options of the simulator.
    """
    async with services() as running:
        with tempfile.TemporaryDirectory(prefix="resolution-home-") as folder:
            home = Path(folder)
            keygen = await asyncio.to_thread(product, "keygen", environment=bare_environment(home))
            keys = dict(line.split("=", 1) for line in keygen.splitlines())
            rabbitmq, postgres = running.rabbitmq, running.postgres
            broker = BrokerServer(rabbitmq.amqp_url, rabbitmq.management, rabbitmq.log)
            server = PostgresServer(postgres.dsn, postgres.log)
            with server.database() as template, simulating(home, *simulator) as marketplace:
                await prepare(template)
                yield Laid(Ground(broker, server, template.name, marketplace, keys, home), running)
