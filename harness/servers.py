"""Private servers for the tests: one of each a session, a database and a virtual host a test."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from worker.lab.servers import Management
from worker.lab.servers.broker import HOME

_STOP_SECONDS = 30.0
_ROOT = Path(__file__).parents[1]
RABBITMQ_SERIES = ("3.10", "4.0", "4.3")


def rabbitmq_homes() -> dict[str, Path]:
    """Where RabbitMQ is installed, by series: for `worker.lab.servers.rabbitmq(..., home=...)`.

    That is the system's, those that `make rabbitmq-4` has fetched, and what the environment
    variable RABBITMQ_HOMES names, which goes first: `4.0=/folder,4.3=/folder`.
    """
    homes = {version.name.split("-")[1]: HOME for version in HOME.glob("lib/rabbitmq_server-*")}
    homes = {".".join(version.split(".")[:2]): home for version, home in homes.items()}
    homes |= {home.parents[1].name: home.parents[1] for home in _fetched()}
    named = [word.split("=", 1) for word in os.environ.get("RABBITMQ_HOMES", "").split(",") if word]
    return homes | {series.strip(): Path(home.strip()) for series, home in named}


def rabbitmq_home(series: str) -> Path:
    """Where RabbitMQ of this series is installed; the test is skipped where it is not."""
    if (home := rabbitmq_homes().get(series)) is None:
        pytest.skip(f"no RabbitMQ {series} here: run `make rabbitmq-4`")
    return home


def _fetched() -> Iterator[Path]:
    return (_ROOT / ".rabbitmq-4").glob("4.*/bin/rabbitmq-server")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a broker user may do: regular expressions over names of queues and exchanges.

    Attributes:
        topics: By topic exchange, what it may do under which keys: publish, and bind.
    """

    configure: str = "^$"
    write: str = "^$"
    read: str = "^$"
    topics: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def shipped(line: str, user: str) -> Permissions:
    """What `deploy/rabbitmq` gives a user.

    Args:
        line: The first word of its lines there; `CALLER` for a web tier.
        user: Its name.
    """
    ((configure, write, read),) = _lines("permissions", line, user)
    topics = {
        exchange: (publish, bind)
        for exchange, publish, bind in _lines("topic-permissions", line, user)
    }
    return Permissions(configure, write, read, topics)


def _lines(file: str, line: str, user: str) -> list[list[str]]:
    text = (_ROOT / "deploy" / "rabbitmq" / file).read_text(encoding="utf-8")
    found = [each.split() for each in text.splitlines()]
    ours = [words[1:] for words in found if words[:1] == [line]]
    return [[word.replace("CALLER", user) for word in words] for words in ours]


@dataclass(frozen=True, slots=True)
class Broker:
    """A virtual host that belongs to one test.

    Attributes:
        vhost: Its name.
        url: The address of its owner, who may do anything in it.
        management: The broker's HTTP interface.
        log: The broker's log, which other tests share.
    """

    vhost: str
    url: str
    management: Management
    log: Path

    def shipped(self, line: str) -> str:
        """Add a user as `deploy/rabbitmq` has it; returns the address to connect with.

        Args:
            line: As for `shipped`.
        """
        name = self._name()
        return self.user(shipped(line, name), name)

    def user(
        self, permissions: Permissions, name: str | None = None, password: str | None = None
    ) -> str:
        """Add a user of this virtual host alone; returns the address to connect with.

        Its name is one of its own unless given, and its password is its name unless given.
        """
        name = name or self._name()
        password = password or name
        self.management.call("PUT", "users", name, body={"password": password, "tags": ""})
        body = {
            "configure": permissions.configure,
            "write": permissions.write,
            "read": permissions.read,
        }
        self.management.call("PUT", "permissions", self.vhost, name, body=body)
        for exchange, (publish, bind) in permissions.topics.items():
            # From 4.3 rights on topics need their exchange.
            kind = {"type": "topic", "durable": True}
            self.management.call("PUT", "exchanges", self.vhost, exchange, body=kind)
            topic = {"exchange": exchange, "write": publish, "read": bind}
            self.management.call("PUT", "topic-permissions", self.vhost, name, body=topic)
        where = urlsplit(self.url)
        vhost = quote(self.vhost, safe="")
        return f"amqp://{name}:{password}@{where.hostname}:{where.port}/{vhost}"

    def _name(self) -> str:
        return f"{self.vhost}-{uuid.uuid4().hex[:8]}"


def reply_key(url: str, unique: str) -> str:
    """A key for the replies to the caller that an address names, as `deploy/rabbitmq` lets it."""
    return f"resolution.reply.{urlsplit(url).username}.{unique}"


@dataclass(frozen=True, slots=True)
class Database:
    """A database that belongs to one test.

    Attributes:
        name: Its name.
        dsn: The superuser's address.
        log: The server's log, which other tests share.
    """

    name: str
    dsn: str
    log: Path

    def dsn_of(self, role: str) -> str:
        """The address for another role, which needs no password; roles are the whole server's."""
        where = urlsplit(self.dsn)
        return f"postgresql://{role}@{where.hostname}:{where.port}/{self.name}"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """The session's PostgreSQL."""

    dsn: str
    log: Path

    @contextmanager
    def database(self, template: str = "template1", encoding: str = "") -> Iterator[Database]:
        """A new database, a copy of the template, until the block ends.

        Args:
            template: What is copied; `template0` where an encoding is named.
            encoding: Such as `LATIN1`; the template's unless given.
        """
        options = f" ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'" if encoding else ""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}{options}")
        try:
            yield Database(name, self.dsn.rpartition("/")[0] + f"/{name}", self.log)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement as superuser, from a test that may have a loop of its own."""
        with ThreadPoolExecutor(1) as executor:
            executor.submit(asyncio.run, self._execute(statement)).result()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn, timeout=30)
        try:
            await connection.execute(statement, timeout=60)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """The session's RabbitMQ."""

    url: str
    management: Management
    log: Path

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """A new virtual host until the block ends; its users go with it."""
        vhost = f"test-{uuid.uuid4().hex[:12]}"
        self.management.call("PUT", "vhosts", vhost)
        try:
            yield Broker(vhost, f"{self.url}{vhost}", self.management, self.log)
        finally:
            self.management.call("DELETE", "vhosts", vhost)
            self._delete_users(f"{vhost}-")

    def _delete_users(self, prefix: str) -> None:
        for user in self.management.call("GET", "users"):
            if user["name"].startswith(prefix):
                self.management.call("DELETE", "users", user["name"])


class Servers:
    """The process that runs both servers and ends them with the test session.

    A process of its own, so that the servers end in an orderly way even if the session is
    killed: they are its children, and it is told when the session dies.
    """

    def __init__(self) -> None:
        setpriv = shutil.which("setpriv")
        dying = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        self._process = subprocess.Popen(
            [*dying, sys.executable, "-m", "worker.lab.servers", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self._facts: dict[str, dict[str, str]] = {}
        self._changed = threading.Condition()
        self._said: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_facts, args=[self._process.stdout], daemon=True),
            threading.Thread(target=self._read_errors, args=[self._process.stderr], daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def postgres(self) -> PostgresServer:
        """The PostgreSQL, as soon as it is ready."""
        facts = self._wait_for("WORKER_POSTGRES__DSN")
        return PostgresServer(facts["WORKER_POSTGRES__DSN"], Path(facts["log"]))

    def rabbitmq(self) -> BrokerServer:
        """The RabbitMQ, as soon as it is ready."""
        facts = self._wait_for("WORKER_AMQP__URL")
        management = Management.at(facts["management"])
        return BrokerServer(facts["WORKER_AMQP__URL"], management, Path(facts["log"]))

    def end(self) -> None:
        """End both and wait until nothing of them is left."""
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)
        for reader in self._readers:
            reader.join(_STOP_SECONDS)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _wait_for(self, name: str) -> dict[str, str]:
        with self._changed:
            self._changed.wait_for(lambda: name in self._facts or self._process.poll() is not None)
        if name not in self._facts:
            self._readers[1].join(_STOP_SECONDS)
            raise RuntimeError("the private servers are not to be had: " + "".join(self._said))
        return self._facts[name]

    def _read_facts(self, stream: IO[str]) -> None:
        for line in stream:
            facts = json.loads(line)
            with self._changed:
                self._facts.update(dict.fromkeys(facts, facts))
                self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._changed.notify_all()

    def _read_errors(self, stream: IO[str]) -> None:
        self._said.extend(stream)
