"""Credentials that must not be seen stand in every address, and are looked for in every output."""

from __future__ import annotations

import base64
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from harness.programs import COMMAND
from tests.acceptance.ways_out import around, everything
from worker.adapters.sealing import generate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.installation import Installation
    from harness.web_tier import WebTier

# With what URLs, JSON and `repr` write differently.
CANARIES = {
    name: f"{name}-canary+/=\"'4711"
    for name in (
        "amqp",
        "declarer",
        "management",
        "database",
        "migrator",
        "proxy",
        "key",
        "session",
    )
}


def encoded(name: str) -> str:
    """A canary as a URL writes it."""
    return quote(CANARIES[name], safe="")


def spellings(secret: str) -> set[str]:
    """What would give a secret away."""
    return {
        secret,
        quote(secret, safe=""),
        secret.replace('"', '\\"'),
        base64.b64encode(f"user:{secret}".encode()).decode(),
    }


def leaks(seen: Mapping[str, str], secrets: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Where which secret is seen."""
    return {
        (part, name): around(text, written)
        for part, text in seen.items()
        for name, secret in secrets.items()
        for written in spellings(secret)
        if written in text
    }


@contextmanager
def refusing_proxy() -> Iterator[int]:
    """A proxy that wants other credentials than it is given."""

    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(407, "Proxy Authentication Required")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxied() -> Iterator[dict[str, str]]:
    """Settings of an endpoint that only a proxy reaches, which refuses us."""
    with refusing_proxy() as port:
        proxy = f"http://user:{encoded('proxy')}@127.0.0.1:{port}"
        yield {
            "WORKER_AWS__ENDPOINT_URL": "https://metering.invalid",
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "NO_PROXY": "",
            "AWS_ACCESS_KEY_ID": "AKIDCANARY",
            "AWS_SECRET_ACCESS_KEY": CANARIES["key"],
            "AWS_SESSION_TOKEN": CANARIES["session"],
        }


async def test_a_working_worker_shows_no_credential(
    stage: Installation, web: WebTier, proxied: dict[str, str]
) -> None:
    """Neither logs, metrics, `/readyz`, tables, replies nor events, whatever libraries quote."""
    worker = stage.start(**proxied, WORKER_LOG__LEVEL="debug")
    await worker.port()
    for number in range(3):
        await web.submit(f"ok-{number}", reply_to=web.reply_to)
    readyz = await worker.unready("aws")
    seen = await everything(stage, web, worker) | {"readyz": readyz}
    worker.kill()
    seen["log"] = worker.said
    del seen["processes"]  # their environments hold them
    assert len(seen["tables"]) > 500
    assert leaks(seen, CANARIES) == {}


ABSENT = ("check --json", "status --json", "migrate", "topology show", "dead-letters list --json")
REFUSING = ("check", "check --json", "status", "publish -")
ALONE = ("resolve-customer --registration-token ok-1 --debug",)


@pytest.mark.parametrize(
    ("commands", "reachable"),
    [(ABSENT, False), (REFUSING + ALONE, True)],
    ids=["nobody listens", "wrong passwords"],
)
async def test_no_command_shows_a_credential(
    stage: Installation, proxied: dict[str, str], commands: tuple[str, ...], *, reachable: bool
) -> None:
    """In no text that it prints, as JSON or for people, about servers that refuse or are absent."""
    broker = stage.broker.url.rpartition("@")[2].partition("/")[0]
    database = stage.schema.worker.rpartition("@")[2].partition("/")[0]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        broker, database = (broker, database) if reachable else (nobody, nobody)
        private, _ = generate()
        environment = stage.environment(
            **proxied,
            WORKER_AMQP__URL=f"amqp://user:{encoded('amqp')}@{broker}/",
            WORKER_AMQP__ADMIN_URL=f"amqp://user:{encoded('declarer')}@{broker}/",
            WORKER_AMQP__MANAGEMENT_URL=f"http://user:{encoded('management')}@{nobody}",
            WORKER_POSTGRES__DSN=f"postgresql://nobody:{encoded('database')}@{database}/nowhere",
            WORKER_POSTGRES__ADMIN_DSN=f"postgresql://nobody:{encoded('migrator')}@{database}/none",
            WORKER_DEAD_LETTERS__OPEN_KEYS=private,
        )
        seen = {command: _printed(command, environment) for command in commands}
    assert all(len(text) > 20 for text in seen.values()), seen
    assert leaks(seen, {**CANARIES, "private key": private}) == {}


def _printed(command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [COMMAND, *command.split()],
        env=environment,
        input="ok-1\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr.partition("botocore")[0], done.stderr
    return done.stdout + done.stderr
