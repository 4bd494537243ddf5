"""A site: everything of one environment, with the users, roles and grants that are shipped."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from harness.ground import sealing_pair
from harness.installation import simulating
from harness.nights.buyers import Buyers
from harness.nights.identities import Identity, identity
from harness.nights.units import Units
from harness.schema import Schema, set_up
from harness.servers import Broker, shipped
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.core.durations import parse
from worker.lab.servers.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from harness.nights.hosts import Hosts
    from harness.programs import Simulator

OUR_KEY: Final = "AKIAOURSELLER"
OTHER_KEY: Final = "AKIAOTHERSELLER"  # of another seller account: AWS takes it, but not our tokens
_DELAYS: Final = "5s,30s,2m"
_USERS: Final = ("worker", "operator", "admin")
_POLICY: Final = {
    "pattern": r"^resolution\.",
    "definition": {"max-length-bytes": 4 * 1024**3},
    "priority": 100,
    "apply-to": "queues",
}


@dataclass(slots=True)
class Site:
    """The servers' part that is this environment's, its workers and its buyers.

    Attributes:
        environment: Its name, such as `production`.
        database: The name of its database.
        vhost: Its virtual host.
        broker: Its virtual host, for whoever administers it.
        schema: The database's addresses.
        folder: Where its secrets and settings lie, each read anew when a worker starts.
        ports: Where workers serve metrics, by number.
        urls: Addresses of the broker, by user without `resolution_`.
    """

    environment: str
    hosts: Hosts
    database: str
    broker: Broker
    schema: Schema
    simulator: Simulator
    folder: Path
    keys: Mapping[str, str]
    ports: Mapping[int, int]
    urls: dict[str, str] = field(default_factory=dict)
    units: Units = field(init=False)
    buyers: Buyers = field(init=False)
    _key_secrets: dict[str, str] = field(default_factory=dict)

    def user(self, name: str) -> str:
        """A broker user's whole name here: users belong to all virtual hosts."""
        suffix = "" if self.environment == "production" else f"_{self.environment}"
        return f"resolution_{name}{suffix}"

    def write(self, name: str, text: str) -> None:
        """Write a file of secrets or settings."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        path.chmod(0o600)

    def sign_with(self, key: str, secret: str | None = None) -> None:
        """Write the workers' AWS credentials.

        Args:
            key: An access key of AWS's, or any other.
            secret: Its secret key; the right one unless given.
        """
        words = f"aws_access_key_id = {key}\naws_secret_access_key = "
        self.write("aws-credentials", f"[default]\n{words}{secret or self._key_secrets[key]}")

    def environment_of(self, number: int) -> Mapping[str, str]:
        """A worker's whole environment, as its unit would have it."""
        return {**self.identity("worker").environment, "WORKER_HTTP__PORT": str(self.ports[number])}

    def identity(self, name: str) -> Identity:
        """One who acts here, with the settings and secrets as they are now."""
        return identity(self, name)


@asynccontextmanager
async def site(
    hosts: Hosts, folder: Path, environment: str, workers: int, settings: Mapping[str, str]
) -> AsyncIterator[Site]:
    """A site with so many workers, ready, and with buyers who come, until the block ends.

    Args:
        hosts: Where its servers are.
        folder: A new folder of its own.
        environment: Its name.
        workers: How many.
        settings: Theirs, besides those that every site needs.
    """
    await asyncio.to_thread(folder.mkdir, parents=True)
    keys = {key: secrets.token_hex(16) for key in (OUR_KEY, OTHER_KEY)}
    pairs = [
        word for pair in keys.items() for word in ("--access-key", pair[0], "--secret-key", pair[1])
    ]
    async with AsyncExitStack() as stack:
        simulator = stack.enter_context(simulating(folder, "--latency", "20ms", *pairs))
        found = await _prepared(hosts, folder, environment, simulator, workers)
        found._key_secrets.update(keys)
        texts = settings.get("WORKER_RETRY__DELAYS", _DELAYS).split(",")
        delays = {text: parse(text).seconds for text in texts}
        await declare(found.urls["admin"], topology(delays))
        _write_files(found, settings)
        found.units = Units(found.environment_of)
        await stack.enter_async_context(found.units.kept(folder / "programs"))
        found.units.start(*found.ports)
        await found.units.ready()
        await stack.enter_async_context(found.buyers.coming())
        yield found


async def _prepared(
    hosts: Hosts, folder: Path, environment: str, simulator: Simulator, workers: int
) -> Site:
    """Database and virtual host, as an operator prepares them."""
    production = environment == "production"
    database = "marketplace" if production else f"marketplace_{environment}"
    schema = await _database(hosts, database)
    management = hosts.rabbitmq.management
    vhost = "/" if production else environment
    owner = f"{hosts.rabbitmq.amqp_url[:-1]}/{quote(vhost, safe='')}"
    broker = Broker(vhost, owner, management, hosts.rabbitmq.log)
    ports = dict(enumerate(free_ports(workers), start=1))
    pair = await asyncio.to_thread(sealing_pair, folder)
    found = Site(environment, hosts, database, broker, schema, simulator, folder, pair, ports)
    await asyncio.to_thread(_virtual_host, found)
    found.buyers = Buyers(found.urls["web"], f"seller-{OUR_KEY}")
    return found


async def _database(hosts: Hosts, name: str) -> Schema:
    await hosts.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    roles = ("resolution_migrator", "resolution_worker", "resolution_operator")
    addresses = [hosts.dsn(role, name) for role in roles]
    return await set_up(Schema(hosts.postgres.dsn_of(name), *addresses))


def _virtual_host(site: Site) -> None:
    """A fresh virtual host, with its users and the policy."""
    call, vhost = site.broker.management.call, site.broker.vhost
    if vhost in {each["name"] for each in call("GET", "vhosts")}:
        call("DELETE", "vhosts", vhost)
    call("PUT", "vhosts", vhost)
    administrator = {"configure": ".*", "write": ".*", "read": ".*"}
    call("PUT", "permissions", vhost, site.broker.management.user, body=administrator)
    call("PUT", "policies", vhost, "resolution", body=_POLICY)
    for name, line in (*((user, f"resolution_{user}") for user in _USERS), ("web", "CALLER")):
        user, password = site.user(name), secrets.token_hex(16)
        site.write(f"broker-passwords/{user}", password)
        site.urls[name] = site.broker.user(shipped(line, user), user, password)


def _write_files(site: Site, more: Mapping[str, str]) -> None:
    """Settings and secrets, each where its identity looks for it."""
    for role, password in site.hosts.passwords.items():
        site.write(f"database-passwords/{role}", password)
    site.write("worker/amqp__url", site.urls["worker"])
    site.write("worker/postgres__dsn", site.schema.worker)
    site.write("worker/dead_letters__seal_key", site.keys["WORKER_DEAD_LETTERS__SEAL_KEY"])
    site.write("on-call/amqp__url", site.urls["operator"])
    site.write("on-call/postgres__dsn", site.schema.operator)
    site.write("on-call/dead_letters__open_keys", site.keys["WORKER_DEAD_LETTERS__OPEN_KEYS"])
    site.write("topology/amqp__admin_url", site.urls["admin"])
    site.sign_with(OUR_KEY)
    settings = {
        "WORKER_AWS__ENDPOINT_URL": site.simulator.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(site.folder / "aws-credentials"),
    }
    site.write(
        "worker.env", "\n".join(f"{name}={value}" for name, value in {**settings, **more}.items())
    )
