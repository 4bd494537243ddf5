"""One RabbitMQ node: its configuration, which keeps everything in one folder."""

import asyncio
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from worker.lab.servers.errors import ServiceError
from worker.lab.servers.management import Management
from worker.lab.servers.ports import LOOPBACK, accepts, free_ports
from worker.lab.servers.server import ServerSpec

_MOST_SCHEDULERS = 4


@dataclass(frozen=True, slots=True)
class Node:
    """The place, the ports and the owner of one node.

    Attributes:
        directory: Holds all that it writes.
        amqp: Port of AMQP clients.
        http: Port of the management interface.
        distribution: Port of Erlang's own protocol, for `rabbitmqctl`.
        epmd: Port of Erlang's name server, which is the node's own too.
        user: The administrator it is created with.
        password: The administrator's.
    """

    directory: Path
    amqp: int
    http: int
    distribution: int
    epmd: int
    user: str
    password: str = field(repr=False)

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self.directory / "rabbitmq.log"

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the broker's programs."""
        here = self.directory
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(here),  # Erlang's cookie
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_NODENAME": f"resolution-{self.amqp}@localhost",
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here),
            "RABBITMQ_SCHEMA_DIR": str(here / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(here / "generated"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _erlang_options(),
            "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false",
            # The start script then becomes the broker instead of waiting for it, so that
            # signals reach the broker itself.
            "detached": "true",
        }


def node_at(directory: Path, user: str, password: str) -> Node:
    """Lay out a node's folder, on ports that are free at this instant."""
    amqp, http, distribution, epmd = free_ports(4)
    node = Node(directory, amqp, http, distribution, epmd, user, password)
    directory.mkdir(mode=0o700, parents=True)
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (directory / "rabbitmq.conf").write_text(_configuration(node))
    (directory / "rabbitmq.conf").chmod(0o600)
    return node


def broker_spec(node: Node, programs: Path, management: Management) -> ServerSpec:
    """How the broker itself is run."""

    async def ready(_: int) -> bool:
        return await asyncio.to_thread(_listens, management, node.amqp)

    return ServerSpec(
        name="RabbitMQ",
        command=[str(programs / "rabbitmq-server")],
        environment=node.environment,
        log=node.log,
        ready=ready,
    )


def epmd_spec(node: Node, programs: Path) -> ServerSpec:
    """How Erlang's name server is run: the one beside the broker's programs, else the system's.

    Left to itself Erlang would start it on all interfaces, as a daemon that outlives the
    broker.

    Raises:
        ServiceError: Erlang is not installed.
    """
    usual = f"{programs}:/usr/bin:/usr/local/bin"
    program = shutil.which("epmd", path=usual) or shutil.which("epmd")
    if program is None:
        raise ServiceError(
            "Erlang's epmd is missing: reinstall it with `apt-get install erlang-base`"
        )

    async def ready(_: int) -> bool:
        return await accepts(node.epmd)

    return ServerSpec(
        name="epmd",
        command=[program, "-address", LOOPBACK, "-port", str(node.epmd)],
        environment=node.environment,
        log=node.directory / "epmd.log",
        ready=ready,
    )


def _listens(management: Management, port: int) -> bool:
    """Whether this node, which alone knows the password, listens on its AMQP port."""
    try:
        management.call("GET", "health", "checks", "port-listener", str(port))
    except (OSError, ValueError):
        return False
    return True


def _configuration(node: Node) -> str:
    return f"""\
listeners.tcp.default = {LOOPBACK}:{node.amqp}
management.tcp.ip = {LOOPBACK}
management.tcp.port = {node.http}
default_user = {node.user}
default_pass = {node.password}
# The interface administers; nobody watches its statistics.
management.disable_stats = true
management_agent.disable_metrics_collector = true
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 16MB
vm_memory_high_watermark.absolute = 1GB
raft.wal_max_size_bytes = 67108864
"""


def _erlang_options() -> str:
    """Loopback only, no spinning while idle, and no more schedulers than a small load needs."""
    schedulers = min(_MOST_SCHEDULERS, os.cpu_count() or 1)
    return (
        f"-start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}}"
        f" +sbwt none +sbwtdcpu none +sbwtdio none +S {schedulers}:{schedulers}"
    )
