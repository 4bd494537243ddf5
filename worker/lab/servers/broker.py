"""A private RabbitMQ, from the system's package, beside any other that runs here."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from worker.lab.servers.errors import ServiceError, StartError
from worker.lab.servers.management import Management
from worker.lab.servers.node import Node, broker_spec, epmd_spec, node_at
from worker.lab.servers.ports import LOOPBACK
from worker.lab.servers.program import output
from worker.lab.servers.server import Server

HOME = Path("/usr/lib/rabbitmq")
_USER = "owner"
_STARTS = 3


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A RabbitMQ that runs.

    Attributes:
        port: Its AMQP port on the loopback interface.
        management: Its HTTP interface.
        log: What it says.
        server: Its process, to stop, kill, freeze and start again; queues survive that.
        programs: Where `rabbitmqctl` is.
        environment: With which that reaches it.
    """

    port: int
    management: Management
    log: Path
    server: Server
    _password: str = field(repr=False)
    programs: Path = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)

    @property
    def amqp_url(self) -> str:
        """The owner's address of the virtual host `/`; it holds a password."""
        return f"amqp://{_USER}:{self._password}@{LOOPBACK}:{self.port}/"

    async def ctl(self, *words: str) -> str:
        """Run `rabbitmqctl` on it, which takes about half a second.

        Returns:
            What it printed.

        Raises:
            ServiceError: It failed; the text is what it said.
        """
        command = [str(self.programs / "rabbitmqctl"), "-q", *words]
        return await output(f"rabbitmqctl {words[0]}", command, self.environment, self.log.parent)

    async def sync(self) -> None:
        """Have it write down what it knows of virtual hosts, users, queues and bindings.

        It answers a declaration before that: a kill within the next seconds takes the queue with
        it, and the messages in it, confirmed or not. Takes about a second. A series that keeps all
        that in Khepri has nothing to do here.

        Raises:
            ServiceError: It does not answer.
        """
        await self.ctl("eval", "catch mnesia:sync_log().")


@asynccontextmanager
async def rabbitmq(directory: Path, *, home: Path = HOME) -> AsyncIterator[RabbitMQ]:
    """Run a RabbitMQ of one's own until the block ends.

    Args:
        directory: A place for its data and log; its content is for the caller to remove.
        home: Where RabbitMQ is installed.

    Raises:
        ServiceError: It is not installed or does not start; the text says why.
    """
    programs = _programs(home)
    node, epmd, server = await _start(directory, programs)
    try:
        yield RabbitMQ(
            node.amqp,
            _management(node),
            node.log,
            server,
            node.password,
            programs,
            node.environment,
        )
    finally:
        server.end()
        epmd.end()


def _programs(home: Path) -> Path:
    """The folder of the programs that don't switch the user, as those in sbin do."""
    if not (home / "bin" / "rabbitmq-server").exists():
        raise ServiceError(
            "RabbitMQ is not installed: run `make rabbitmq`, or as root"
            " `apt-get install rabbitmq-server`, or name a broker in WORKER_AMQP__URL"
        )
    return home / "bin"


def _management(node: Node) -> Management:
    return Management(f"http://{LOOPBACK}:{node.http}", _USER, node.password)


async def _start(directory: Path, programs: Path) -> tuple[Node, Server, Server]:
    """Start the node, again elsewhere if another process took a port meanwhile."""
    for attempt in range(1, _STARTS + 1):
        node = node_at(directory / f"node-{attempt}", _USER, secrets.token_hex(16))
        epmd = Server(epmd_spec(node, programs))
        server = Server(broker_spec(node, programs, _management(node)))
        try:
            await epmd.start(within=10)
            await server.start()
        except BaseException as error:
            epmd.end()
            if attempt == _STARTS or not (isinstance(error, StartError) and error.port_taken):
                raise
        else:
            return node, epmd, server
    raise AssertionError
