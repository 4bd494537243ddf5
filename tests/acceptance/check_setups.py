"""A sound set-up for `check`, and the means to break it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from harness.installation import bare_environment, simulating
from harness.programs import COMMAND, Simulator
from harness.schema import prepare
from harness.servers import shipped
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.adapters.sealing import generate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.servers import Broker, BrokerServer, Database, Permissions, PostgresServer

ACCESS_KEY = "AKIDCHECKCHECK"
SECRETS = {
    "aws": "aws-secret-of-the-check",
    "broker": "broker-secret-of-the-check",
    "database": "database-secret-of-the-check",
}
ACCOUNT = "123456789012"
DELAYS = {"5s": 5.0, "30s": 30.0, "2m": 120.0}


@dataclass(frozen=True, slots=True)
class Done:
    """What `check --json` has found.

    Attributes:
        seconds: How long the whole command took.
        said: All that it printed.
    """

    code: int
    findings: Mapping[str, Mapping[str, Any]]
    seconds: float
    said: str

    def names(self, state: str) -> set[str]:
        """The checks that ended so."""
        return {name for name, found in self.findings.items() if found["state"] == state}


@dataclass(slots=True)
class Setup:
    """Servers on which a worker would be well, and settings that say so.

    Attributes:
        breaking: Undoes at the end of a test what it has broken.
    """

    broker_server: BrokerServer
    broker: Broker
    postgres_server: PostgresServer
    database: Database
    simulator: Simulator
    home: Path
    seal_key: str = field(default_factory=lambda: generate()[0])
    worker_url: str = ""
    breaking: ExitStack = field(default_factory=ExitStack)

    def environment(self, **settings: str) -> dict[str, str]:
        """The whole environment: nothing of the test's own but these settings."""
        sound = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRETS["aws"],
            "WORKER_AMQP__URL": self.worker_url,
            "WORKER_AMQP__ADMIN_URL": self.broker.url,
            "WORKER_POSTGRES__DSN": dsn(self.database),
            "WORKER_AWS__ENDPOINT_URL": self.simulator.url,
            "WORKER_DEAD_LETTERS__SEAL_KEY": self.seal_key,
            "WORKER_HTTP__PORT": "0",
            **settings,
        }
        # An empty value takes a variable away.
        return bare_environment(self.home) | {name: value for name, value in sound.items() if value}

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `check` as a person would."""
        return subprocess.run(
            [COMMAND, "check", *arguments],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def check(self, **settings: str) -> Done:
        """Run `check` and read what it found."""
        began = time.monotonic()
        done = self.run("--json", **settings)
        seconds = time.monotonic() - began
        assert "Traceback" not in done.stderr, done.stderr
        found = {each["check"]: each for each in json.loads(done.stdout)}
        return Done(done.returncode, found, seconds, done.stdout + done.stderr)

    # --- means to break it ---

    def user(self, broker: Broker, rights: Permissions | None) -> str:
        """The address of another user, whose password is told from its name."""
        name = f"{broker.vhost}-{uuid.uuid4().hex[:8]}"
        password = SECRETS["broker"]
        call = broker.management.call
        call("PUT", "users", name, body={"password": password, "tags": ""})
        if rights is not None:
            body = {
                "configure": rights.configure,
                "write": rights.write,
                "read": rights.read,
            }
            call("PUT", "permissions", broker.vhost, name, body=body)
        where = urlsplit(broker.url)
        return f"amqp://{name}:{password}@{where.hostname}:{where.port}/{broker.vhost}"

    def other_broker(self) -> Broker:
        """An empty virtual host."""
        return self.breaking.enter_context(self.broker_server.broker())

    def database_after(self, *statements: str) -> str:
        """The worker's address of a copy of the database in which these were run."""
        copy = self.breaking.enter_context(self.postgres_server.database(self.database.name))
        for statement in statements:
            asyncio.run(execute(copy.dsn, statement.format(name=copy.name)))
        return dsn(copy)

    def empty_database(self) -> str:
        """The worker's address of a database without a schema."""
        return dsn(self.breaking.enter_context(self.postgres_server.database()))

    def submit(self, *tokens: str) -> None:
        """Put tokens into the live lane, until the end of the test."""
        call, vhost = self.broker.management.call, self.broker.vhost
        for token in tokens:
            body = {
                "routing_key": "token",
                "payload": json.dumps({"version": 1, "registration_token": token}),
                "payload_encoding": "string",
                "properties": {"content_type": "application/json", "message_id": uuid.uuid4().hex},
            }
            call("POST", "exchanges", vhost, "resolution", "publish", body=body)
        for queue in ("resolution.tokens", "resolution.backlog"):
            self.breaking.callback(call, "DELETE", "queues", vhost, queue, "contents")

    def fault(self, code: str, message: str, status: int = 400) -> None:
        """Let the simulator answer every call with an error."""
        order = {"code": code, "message": message, "status": status}
        asyncio.run(self.simulator.order("PUT", "fault", order))
        self.breaking.callback(lambda: asyncio.run(self.simulator.order("DELETE", "fault")))

    def silent_port(self) -> int:
        """A port that takes connections and never says a word."""
        return self.breaking.enter_context(silent_port())

    def closed_port(self) -> int:
        """A port on which nobody listens, and which nobody else is given meanwhile."""
        held = self.breaking.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])

    def sts(self) -> str:
        """The address of an STS that knows one account, and lets nobody assume a role."""
        return self.breaking.enter_context(serving_sts())

    def file(self, name: str, text: str) -> str:
        """The path of a new file."""
        path = self.home / f"{uuid.uuid4().hex}-{name}"
        path.write_text(text, encoding="utf-8")
        return str(path)


def dsn(database: Database) -> str:
    """The worker's address of a database, with a password that the server does not ask for."""
    where = urlsplit(database.dsn)
    password = SECRETS["database"]
    return (
        f"postgresql://resolution_worker:{password}@{where.hostname}:{where.port}/{database.name}"
    )


async def execute(address: str, statement: str) -> None:
    """Run one statement."""
    connection = await asyncpg.connect(address, timeout=30)
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port whose connections the kernel takes, and nobody ever reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield int(listener.getsockname()[1])


class _Sts(BaseHTTPRequestHandler):
    """Knows the two calls that matter, and gives out a container's credentials.

    Attributes:
        external_id: What must be said to assume the role; None lets nobody do so.
    """

    external_id: str | None = None

    def do_POST(self) -> None:
        """Answer one call."""
        length = int(self.headers.get("Content-Length", "0"))
        asked = parse_qs(self.rfile.read(length).decode())
        status, body = _STS_ANSWERS[asked["Action"][0]]
        if self.external_id and asked.get("ExternalId") == [self.external_id]:
            status, body = _ASSUMED
        self._answer(status, "text/xml", body)

    def do_GET(self) -> None:
        """Give out the simulator's credentials, as the service for containers does."""
        self._answer(200, "application/json", _CONTAINERS)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


_XMLNS = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
_STS_ANSWERS = {
    "GetCallerIdentity": (
        200,
        f"<GetCallerIdentityResponse {_XMLNS}><GetCallerIdentityResult>"
        f"<Arn>arn:aws:iam::{ACCOUNT}:user/check</Arn><UserId>U</UserId><Account>{ACCOUNT}"
        "</Account></GetCallerIdentityResult></GetCallerIdentityResponse>".encode(),
    ),
    "AssumeRole": (
        403,
        f"<ErrorResponse {_XMLNS}><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>"
        "User is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"
        "".encode(),
    ),
}


_KEYS = (
    "<AccessKeyId>simulator</AccessKeyId><SecretAccessKey>simulator</SecretAccessKey>"
    "<SessionToken>t</SessionToken><Expiration>2036-01-01T00:00:00Z</Expiration>"
)
_ASSUMED = (
    200,
    f"<AssumeRoleResponse {_XMLNS}><AssumeRoleResult><Credentials>{_KEYS}</Credentials>"
    f"<AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/r/s</Arn><AssumedRoleId>A:s"
    "</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>".encode(),
)
_CONTAINERS = json.dumps(
    {
        "AccessKeyId": "simulator",
        "SecretAccessKey": "simulator",
        "Token": "t",
        "Expiration": "2036-01-01T00:00:00Z",
    }
).encode()


@contextmanager
def serving_sts(external_id: str | None = None) -> Iterator[str]:
    """An STS that knows one account, and lets assume a role who says the external ID."""
    handler = type("Sts", (_Sts,), {"external_id": external_id})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def sound_setup(
    broker_server: BrokerServer, postgres_server: PostgresServer, home: Path
) -> Iterator[Setup]:
    """Servers as the operator's handbook says, until the block ends."""
    with (
        broker_server.broker() as broker,
        postgres_server.database() as database,
        simulating(home, "--access-key", ACCESS_KEY, "--secret-key", SECRETS["aws"]) as simulator,
    ):
        asyncio.run(declare(broker.url, topology(DELAYS)))
        asyncio.run(prepare(database))
        setup = Setup(broker_server, broker, postgres_server, database, simulator, home)
        setup.worker_url = setup.user(broker, shipped("resolution_worker", "worker"))
        yield setup
