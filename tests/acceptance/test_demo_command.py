"""The command `demo`: its account, its exit codes, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import aio_pika
import asyncpg
import psutil
import pytest
from typer.testing import CliRunner

from worker.cli.main import app
from worker.lab.demo import servers
from worker.lab.demo.kinds import KINDS
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.servers import Broker, Database

COMMAND = [sys.executable, "-m", "worker", "demo"]
FEW = ("--tokens", "100")
SECONDS = 120.0
READY = re.compile(r"(worker \d): ready, pid (\d+)")


def environment(folder: Path, **named: str) -> dict[str, str]:
    """An environment that names only these servers, and where temporary files go."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return {**ours, "TMPDIR": str(folder), **named}


@dataclass
class Demo:
    """A running demo.

    Attributes:
        process: Its process.
        folder: Where its temporary files go.
        family: Every process it was seen to have started.
    """

    process: subprocess.Popen[str]
    folder: Path
    told: Path
    family: set[psutil.Process] = field(default_factory=set)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has told something."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.told.read_text())) is None:
            assert self.process.poll() is None, self.told.read_text()
            assert time.monotonic() < deadline, self.told.read_text()
            self.look()
            time.sleep(0.02)
        self.look()
        return found

    def look(self) -> None:
        """Note which processes it has."""
        with suppress(psutil.NoSuchProcess):  # it has just ended
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))

    def end(self, number: signal.Signals) -> int:
        """Send it a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def left_behind(self) -> list[object]:
        """Processes and files of it that are still there."""
        alive = [one for one in self.family if one.is_running() and one.status() != "zombie"]
        return [*alive, *self.folder.iterdir()]


@contextmanager
def running(tmp_path: Path, *options: str, **named: str) -> Iterator[Demo]:
    """A demo that was started, and is ended if a test fails."""
    folder, told = tmp_path / "temporary", tmp_path / "told"
    folder.mkdir()
    with (
        told.open("w") as stderr,
        subprocess.Popen(
            [*COMMAND, *options],
            env=environment(folder, **named),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            yield Demo(process, folder, told)
        finally:
            process.terminate()


def run(tmp_path: Path, *options: str, **named: str) -> tuple[int, str, str]:
    """Run a demo to its end: exit code, standard output and standard error; nothing is left."""
    with running(tmp_path, *options, **named) as demo:
        deadline = time.monotonic() + SECONDS
        while demo.process.poll() is None and time.monotonic() < deadline:
            demo.look()
            time.sleep(0.1)
        output, _ = demo.process.communicate(timeout=1)
        assert demo.left_behind() == []
        return demo.process.returncode, output, demo.told.read_text()


def declare(theirs: dict[str, str]) -> None:
    """Declare the topology, as an operator does."""
    words = [sys.executable, "-m", "worker", "topology", "declare"]
    subprocess.run(words, env=theirs, check=True, capture_output=True, timeout=60)


@pytest.mark.timeout(300)
def test_the_account_of_private_servers_balances(tmp_path: Path) -> None:
    """With nothing named, every token of every kind comes out as demanded, in one JSON document."""
    code, output, told = run(tmp_path, *FEW, "--json", "--seed", "7")
    account: dict[str, Any] = json.loads(output)

    assert (code, account["mismatches"]) == (0, []), told
    assert account["balances"] is True
    assert account["seed"] == 7
    assert account["servers"] == {"database": "private", "broker": "private"}
    assert {line["kind"] for line in account["outcomes"]} == {kind.name for kind in KINDS}
    assert sum(line["found"] for line in account["outcomes"]) == account["tokens"] == 100
    assert account["killed"]["settled"] * 2 >= account["killed"]["total"]
    assert {wait["lane"] for wait in account["wait_seconds"]} == {"live", "backlog"}
    assert "killed with SIGKILL" in told
    assert "\x1b" not in told + output


@pytest.mark.timeout(300)
@pytest.mark.long
async def test_named_servers_are_used_and_left_clean(
    tmp_path: Path, broker: Broker, database: Database
) -> None:
    """Servers that the environment names are used: the rows stay, and no queue or exchange does."""
    named = {"WORKER_AMQP__URL": broker.url, "WORKER_POSTGRES__DSN": database.dsn}
    code, output, told = run(tmp_path, *FEW, **named)

    assert code == 0, told + output
    assert "The account balances" in output
    assert "named in the environment" in told
    assert database.name in output
    connection = await asyncpg.connect(database.dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM resolution.outcomes") == 100
    finally:
        await connection.close()
    assert broker.management.call("GET", "queues", broker.vhost) == []
    names = {one["name"] for one in broker.management.call("GET", "exchanges", broker.vhost)}
    assert not any(name.startswith("resolution") for name in names)


async def test_a_broker_in_use_is_left_alone(tmp_path: Path, broker: Broker) -> None:
    """A broker on which a token waits is refused in words, and the token stays."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum"}
    connection = await aio_pika.connect(broker.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            "resolution.retry.2m", durable=True, arguments=arguments
        )
        message = aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)

        code, output, told = run(tmp_path, *FEW, WORKER_AMQP__URL=broker.url)

        assert (code, output) == (69, "")
        assert "resolution.retry.2m: messages 1" in told
        assert "Unset WORKER_AMQP__URL" in told
        assert "Traceback" not in told
        again = await queue.get()
        assert again is not None
        await again.reject(requeue=False)


@pytest.mark.timeout(300)
@pytest.mark.long
async def test_an_interrupted_run_takes_its_messages_away(tmp_path: Path, broker: Broker) -> None:
    """Interrupted where others had queues, it leaves those, empty, and none of its own."""
    declare(environment(tmp_path, WORKER_AMQP__URL=broker.url))
    before = {one["name"] for one in broker.management.call("GET", "queues", broker.vhost)}

    with running(tmp_path, "--tokens", "2000", WORKER_AMQP__URL=broker.url) as demo:
        demo.wait_for(r"settled [1-9]")
        assert demo.end(signal.SIGINT) == 130
        assert demo.left_behind() == []

    connection = await aio_pika.connect(broker.url)
    async with connection:
        channel = await connection.channel()
        for name in before:
            queue = await channel.declare_queue(name, passive=True)
            assert queue.declaration_result.message_count == 0
    assert {one["name"] for one in broker.management.call("GET", "queues", broker.vhost)} == before


@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGINT, r"settled [1-9]", 130),
        (signal.SIGINT, r"migrate --stand-in: done", 130),
        (signal.SIGTERM, r"worker \d: ready", 143),
        (signal.SIGTERM, r"simulator at", 143),
    ],
)
@pytest.mark.sampled(4)
def test_a_signal_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, moment: str, code: int
) -> None:
    """Ctrl-C and SIGTERM, at whatever moment, end every process and remove every file at once."""
    with running(tmp_path, "--tokens", "2000") as demo:
        demo.wait_for(moment)

        assert demo.end(number) == code
        assert demo.left_behind() == []
        assert f"Interrupted by {number.name}" in demo.told.read_text()
        assert "Traceback" not in demo.told.read_text()
        assert demo.process.communicate()[0] == ""


@pytest.mark.long
def test_a_worker_that_dies_by_itself_is_noticed(tmp_path: Path) -> None:
    """A worker that is gone though the demo has not killed it is named, with its last lines."""
    with running(tmp_path, "--tokens", "2000") as demo:
        name, pid = demo.wait_for(READY.pattern).groups()
        os.kill(int(pid), signal.SIGKILL)

        assert demo.process.wait(60) == 1
        assert demo.left_behind() == []
        told = demo.told.read_text()
        assert f"{name} has ended by itself" in told
        assert "http_listening" in told
        assert "Traceback" not in told


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [
        ({"WORKER_POSTGRES__DSN": "postgresql://a:hidden@127.0.0.1:1/b"}, 69, "start PostgreSQL"),
        ({"WORKER_AMQP__URL": "amqp://a:hidden@127.0.0.1:1/"}, 69, "connection refused"),
        ({"WORKER_AMQP__URL": "http://a:hidden@127.0.0.1/"}, 78, "WORKER_AMQP__URL"),
    ],
)
@pytest.mark.long
def test_a_named_server_that_is_not_there_is_told(
    tmp_path: Path, named: dict[str, str], code: int, words: str
) -> None:
    """A server that can't be reached or read is named with what to do, and without its password."""
    found, output, told = run(tmp_path, *FEW, **named)

    assert (found, output) == (code, "")
    assert words in told
    assert "hidden" not in told
    assert "Traceback" not in told


def test_too_few_tokens_are_wrong_usage(tmp_path: Path) -> None:
    """Fewer tokens than it takes to show every kind are refused, with the least that will do."""
    code, output, told = run(tmp_path, "--tokens", "99")

    assert (code, output) == (2, "")
    assert "100" in told


def test_a_missing_broker_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where RabbitMQ is not installed it says how to get it, and ends with 69."""
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(servers, "rabbitmq", partial(rabbitmq, home=tmp_path / "nowhere"))
    result = CliRunner().invoke(app, ["demo", *FEW])

    assert result.exit_code == 69
    assert "apt-get install rabbitmq-server" in result.stderr
    assert result.stdout == ""
