"""`publish`, as an operator runs it: what it says is published is on the broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from harness.connections import drop_connections
from harness.servers import shipped
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology

if TYPE_CHECKING:
    from pathlib import Path

    from aio_pika.abc import AbstractIncomingMessage

    from harness.servers import Broker

COMMAND = [sys.executable, "-m", "worker", "publish"]


@pytest.fixture(autouse=True)
async def declared(broker: Broker) -> None:
    """The topology is there, unless a test takes it away."""
    await declare(broker.url, topology({"5s": 5.0}))


def environment(broker: Broker) -> dict[str, str]:
    """The environment of the command."""
    return {**os.environ, "WORKER_AMQP__URL": broker.url}


def publish(
    broker: Broker, *words: str | Path, given: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    done = subprocess.run(
        [*COMMAND, *words],
        env=env or environment(broker),
        input=given,
        capture_output=True,
        check=False,
        timeout=120,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


async def received(broker: Broker, queue: str = "resolution.tokens") -> list[Any]:
    """All messages of a queue."""
    found: list[AbstractIncomingMessage] = []
    async with connected(broker.url, name="reader") as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1_000)
        source = await channel.get_queue(queue)
        count = source.declaration_result.message_count or 0
        if count:
            async with source.iterator(no_ack=True) as messages:
                async for message in messages:
                    found.append(message)
                    if len(found) == count:
                        break
    return found


def tokens(messages: list[AbstractIncomingMessage]) -> list[str]:
    """The tokens in messages, in order."""
    return sorted(json.loads(message.body)["registration_token"] for message in messages)


async def test_a_file_of_tokens_and_submissions(broker: Broker, tmp_path: Path) -> None:
    """Every line that is not blank is on the broker, confirmed, with its properties."""
    submission = {
        "registration_token": "ok-2",
        "message_id": "m-2",
        "correlation_id": "c-2",
        "reply_to": "resolution.reply.web",
        "metadata": {"session": "s"},
    }
    file = tmp_path / "tokens"
    file.write_bytes(b"ok-1\r\n\n" + json.dumps(submission).encode() + b"\nok-3")
    began = time.time()
    done = publish(broker, file, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "published": 3,
        "not_published": 0,
        "failures": [],
        "stopped": None,
        "resume_from_line": None,
    }
    messages = await received(broker)
    assert tokens(messages) == ["ok-1", "ok-2", "ok-3"]
    assert len({message.message_id for message in messages}) == 3
    (asked,) = (message for message in messages if message.message_id == "m-2")
    assert (asked.correlation_id, asked.reply_to) == ("c-2", "resolution.reply.web")
    assert json.loads(asked.body) == {
        "registration_token": "ok-2",
        "metadata": {"session": "s"},
    }
    for message in messages:
        assert (message.content_type, message.delivery_mode) == ("application/json", 2)
        assert began - 2 <= message.timestamp.timestamp() <= time.time() + 1


async def test_each_message_bears_the_user_who_published_it(broker: Broker) -> None:
    """The broker has checked who it was, whatever characters the name has in the address."""
    name = f"{broker.vhost}-Jürgen @ shop: 100 %41/+?#[x]"
    broker.user(shipped("resolution_publisher", "resolution_publisher"), name)
    where = urlsplit(broker.url)
    who = f"{quote(name, safe='')}:{quote(name, safe='')}"
    url = f"amqp://{who}@{where.hostname}:{where.port}/{broker.vhost}"
    done = publish(broker, given=b"ok-1\nok-2\n", env={**os.environ, "WORKER_AMQP__URL": url})
    assert done.returncode == 0, done.stderr
    assert [message.user_id for message in await received(broker)] == [name, name]


async def test_standard_input_into_the_backlog(broker: Broker) -> None:
    """Without a file tokens come from standard input; the lane is chosen by an option."""
    done = publish(broker, "--lane", "backlog", given=b"ok-1\nok-2\n")
    assert done.returncode == 0
    assert done.stderr == "published: 2  not published: 0\n"
    assert done.stdout == ""
    assert tokens(await received(broker, "resolution.backlog")) == ["ok-1", "ok-2"]


async def test_bad_lines_are_named_by_number_and_the_rest_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    """Lines that can't be published are named with reasons, never shown, and can be retried."""
    file = tmp_path / "tokens"
    overlong = json.dumps({"registration_token": "ok-2", "message_id": "secret" * 60})
    lines = ["ok-1", "secret%2Btoken", "secret token", "{", '{"token": "secret"}', overlong, "ok-3"]
    file.write_text("\n".join(lines))
    done = publish(broker, file)
    assert done.returncode == 1
    assert "published: 2  not published: 5\n" in done.stderr
    assert "line 2: the registration_token has a %XX escape" in done.stderr
    assert "line 3: the registration_token has white space" in done.stderr
    assert "line 4: it starts with { but is not a JSON object" in done.stderr
    assert "line 5: the submission has no registration_token" in done.stderr
    assert "line 6: its message_id has more than 255 bytes" in done.stderr
    assert f"sed -n 2,6p {file} | resolution-worker publish --lane live" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert tokens(await received(broker)) == ["ok-1", "ok-3"]


def test_a_token_is_never_an_argument(broker: Broker) -> None:
    """A token given as an argument is refused without being repeated."""
    done = publish(broker, "secret-token")
    assert done.returncode == 2
    assert "never as an argument" in done.stderr
    assert "secret-token" not in done.stdout + done.stderr


def test_an_absent_broker(broker: Broker) -> None:
    """A broker that is not there ends the command with 69; nothing was read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    env = environment(broker) | {"WORKER_AMQP__URL": f"amqp://user:hidden@127.0.0.1:{port}/"}
    done = publish(broker, given=b"ok-1\n", env=env)
    assert done.returncode == 69
    assert done.stderr.startswith(f"broker at 127.0.0.1:{port}: connection refused")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_bad_settings(broker: Broker) -> None:
    """Settings that can't be read end the command with 78, bad options with 2."""
    env = environment(broker) | {"WORKER_AMQP__URL": "http://x"}
    assert publish(broker, env=env).returncode == 78
    assert publish(broker, "--lane", "fast").returncode == 2
    assert publish(broker, "--patience", "long").returncode == 2


def test_a_missing_exchange(broker: Broker) -> None:
    """Without the exchange nothing is published, and the command that makes it is named."""
    broker.management.call("DELETE", "exchanges", broker.vhost, "resolution")
    done = publish(broker, given=b"ok-1\n" * 1_000)
    assert done.returncode == 1
    assert "published: 0" in done.stderr
    assert "no exchange 'resolution'" in done.stderr
    assert "resolution-worker topology declare" in done.stderr


def test_a_missing_queue(broker: Broker) -> None:
    """Without the queue it stops at once, says from which line on, and names the command."""
    broker.management.call("DELETE", "queues", broker.vhost, "resolution.tokens")
    done = publish(broker, "--json", given=b"ok-1\n" * 1_000)
    assert done.returncode == 1
    account = json.loads(done.stdout)
    assert account["published"] == 0
    assert account["not_published"] == account["resume_from_line"] - 1 < 1_000
    assert "topology declare" in account["stopped"]


async def test_a_full_queue(broker: Broker) -> None:
    """A queue that stays full is given up after the patience asked for; all is accounted for."""
    broker.management.call("DELETE", "queues", broker.vhost, "resolution.tokens")
    async with connected(broker.url, name="test") as connection:
        channel = await connection.channel()
        limits: dict[str, Any] = {"x-max-length": 5, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue("resolution.tokens", durable=True, arguments=limits)
        await queue.bind("resolution", "token")
    given = b"".join(b"ok-%d\n" % number for number in range(20))
    done = publish(broker, "--patience", "500ms", "--json", given=given)
    assert done.returncode == 1
    account = json.loads(done.stdout)
    assert (account["published"], account["not_published"]) == (5, 15)
    (failure,) = account["failures"]
    assert "the queue is full" in failure["reason"]
    failed = {
        f"ok-{line - 1}" for first, last in failure["lines"] for line in range(first, last + 1)
    }
    assert failed.isdisjoint(tokens(await received(broker)))


@pytest.mark.long
async def test_a_connection_lost_on_the_way(broker: Broker, tmp_path: Path) -> None:
    """When connections are lost it goes on over new ones, and every line gets there."""
    count = 20_000
    file = tmp_path / "tokens"
    file.write_text("".join(f"ok-{number}\n" for number in range(count)))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        file,
        "--json",
        env=environment(broker),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    finished = asyncio.create_task(process.communicate())
    drops = 0
    while not finished.done() and drops < 3:
        try:
            drops += await drop_connections(broker, 2)
        except TimeoutError:
            break
        await asyncio.sleep(0.3)
    out, err = await finished
    assert drops > 0
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["published"] == count
    found = set(tokens(await received(broker)))
    assert len(found) == count


async def test_an_interrupt_stops_in_order(broker: Broker) -> None:
    """Ctrl-C ends it with the account of what is published, though input would still come."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--json",
        env=environment(broker),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"ok-1\nok-2\nok-3\n")
    await process.stdin.drain()
    async with asyncio.timeout(30):
        while await waiting(broker) < 3:  # noqa: ASYNC110 - a queue is asked
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        out = await process.stdout.read()
        assert process.stderr is not None
        err = await process.stderr.read()
        assert await process.wait() == 1
    account = json.loads(out)
    assert (account["published"], account["stopped"]) == (3, "interrupted")
    assert account["resume_from_line"] == 4
    assert b"Traceback" not in err


async def waiting(broker: Broker) -> int:
    """How many messages are in the live lane."""
    async with connected(broker.url, name="counter") as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("resolution.tokens")
        return queue.declaration_result.message_count or 0


@pytest.mark.long
def test_memory_does_not_grow_with_the_input(broker: Broker) -> None:
    """A long stream is published in the memory of a short one."""
    peaks = []
    for count in (1_000, 60_000):
        with subprocess.Popen(
            [*COMMAND], env=environment(broker), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            watched, peak = psutil.Process(process.pid), 0
            for start in range(0, count, 1_000):
                process.stdin.write(
                    b"".join(b"ok-%d-%s\n" % (start + n, b"x" * 200) for n in range(1_000))
                )
                process.stdin.flush()
                peak = max(peak, watched.memory_info().rss)
            process.stdin.close()
            assert process.wait() == 0
            peaks.append(peak)
    assert peaks[1] - peaks[0] < 60 * 2**20
