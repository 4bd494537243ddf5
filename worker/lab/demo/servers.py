"""The stage: a database, a broker and the simulator, private ones unless the environment names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yarl import URL

from worker.adapters.rabbitmq.connection import address
from worker.adapters.sealing import generate
from worker.lab.demo import environment, processes
from worker.lab.demo.external_servers import visiting
from worker.lab.demo.processes import Player
from worker.lab.servers import postgres, rabbitmq
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack
    from pathlib import Path

    from worker.lab.demo.environment import Named
    from worker.lab.demo.progress import Tell

PRIVATE = "private"


@dataclass(slots=True)
class Stage:
    """Where the demo takes place.

    Attributes:
        directory: Logs, and the private servers' data.
        named: The servers that the environment names.
        common: What every process finds in its environment, apart from servers.
        where: Which servers are used: `private`, or the address of a named one.
        broker: The variables that name the broker.
        database: Those that name the database.
        endpoint: The one that names the simulator.
        players: The processes so far.
    """

    directory: Path
    named: Named
    common: Mapping[str, str]
    where: dict[str, str] = field(default_factory=dict)
    broker: dict[str, str] = field(default_factory=dict)
    database: dict[str, str] = field(default_factory=dict)
    endpoint: dict[str, str] = field(default_factory=dict)
    players: list[Player] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a worker."""
        return {**self.common, **self.broker, **self.database, **self.endpoint}

    @property
    def publisher(self) -> dict[str, str]:
        """The variable that names the broker to publishers, whom a worker's user is not."""
        return environment.broker_at(self.broker_url)

    @property
    def broker_url(self) -> str:
        """The broker, for whoever may declare queues there."""
        return load(environ={**self.common, **self.broker}).current_amqp_admin_url()

    @property
    def database_dsn(self) -> str:
        """The database, for whoever may read all of it."""
        return load(environ={**self.common, **self.database}).current_postgres_admin_dsn()

    @property
    def simulator(self) -> Player:
        """The Marketplace stand-in."""
        return next(player for player in self.players if player.name == processes.SIMULATOR)


def empty_stage(directory: Path, environ: Mapping[str, str]) -> Stage:
    """A stage with nothing on it.

    Args:
        directory: Where everything is kept.
        environ: May name servers.

    Raises:
        SettingsError: A server is named in a way that can't be accepted.
    """
    named = environment.named(environ)
    seal_key, _ = generate()
    common = {
        **environment.plain(environ),
        **environment.settings(seal_key),
        **named.plaintext,
    }
    load(environ={**common, **named.broker, **named.database})
    load(environ=named.delays)
    return Stage(directory, named, common)


async def set_up(stage: Stage, stack: AsyncExitStack, run: str, tell: Tell) -> None:
    """Bring everything about, side by side; the stack takes it away again.

    Raises:
        BaseExceptionGroup: Something can't be had.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(_database(stage, stack, tell))
        group.create_task(_broker(stage, stack, run, tell))
        group.create_task(_simulator(stage, stack, tell))


async def _database(stage: Stage, stack: AsyncExitStack, tell: Tell) -> None:
    if stage.named.database:
        stage.database.update(stage.named.database)
        stage.where["database"] = _database_address(stage.database_dsn)
        tell.say(f"database: {stage.where['database']}, named in the environment")
    else:
        server = await stack.enter_async_context(postgres(stage.directory / "postgresql"))
        stage.database.update(environment.database_at(server.dsn))
        stage.where["database"] = PRIVATE
        stage.players.append(Player("PostgreSQL", server.server, server.log))
        tell.say(f"database: a private PostgreSQL on port {server.port}")
    await processes.command(
        ["migrate", "--stand-in"], stage.directory, {**stage.common, **stage.database}, tell
    )


async def _broker(stage: Stage, stack: AsyncExitStack, run: str, tell: Tell) -> None:
    if stage.named.broker:
        stage.broker.update(stage.named.broker)
        stage.where["broker"] = address(stage.broker_url)
        tell.say(f"broker: {stage.where['broker']}, named in the environment")
        theirs = {
            delay.text: delay.seconds for delay in load(environ=stage.named.delays).retry.delays
        }
        await stack.enter_async_context(visiting(stage.broker_url, run, theirs, tell))
    else:
        server = await stack.enter_async_context(rabbitmq(stage.directory / "rabbitmq"))
        stage.broker.update(environment.broker_at(server.amqp_url))
        stage.where["broker"] = PRIVATE
        stage.players.append(Player("RabbitMQ", server.server, server.log))
        tell.say(f"broker: a private RabbitMQ on port {server.port}")
    words = ["topology", "declare"]
    await processes.command(words, stage.directory, {**stage.common, **stage.broker}, tell)


async def _simulator(stage: Stage, stack: AsyncExitStack, tell: Tell) -> None:
    player = await processes.simulator(stage.directory, stage.common)
    stack.callback(player.end)
    stage.endpoint.update(environment.endpoint_at(player.url))
    stage.players.append(player)
    tell.say(f"AWS Marketplace: the simulator at {player.url}")


async def hire(stage: Stage, stack: AsyncExitStack, number: int, tell: Tell) -> Player:
    """Start one worker, which the stack ends.

    Raises:
        StartError: It did not start.
    """
    player = await processes.worker(number, stage.directory, stage.environment)
    stack.callback(player.end)
    stage.players.append(player)
    tell.say(f"{player.name}: ready, pid {player.server.pid}, {player.url}/metrics")
    return player


def _database_address(dsn: str) -> str:
    """Host, port and name of a database, and nothing else of its address."""
    parsed = URL(dsn)
    return f"{parsed.host}:{parsed.port or 5432}{parsed.path}"
