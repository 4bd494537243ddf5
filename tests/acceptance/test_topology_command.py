"""`topology declare` and `topology show`, as an operator runs them."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.servers import Permissions

if TYPE_CHECKING:
    from harness.servers import Broker

COMMAND = [sys.executable, "-m", "worker", "topology"]


def run(url: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command against a broker."""
    env = {**os.environ, "WORKER_AMQP__URL": url, **environment}
    return subprocess.run(
        [*COMMAND, *words], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_show_declare_show(broker: Broker) -> None:
    """What is missing is shown, declared, and then shown as right; exit codes say the same."""
    before = run(broker.url, "show")
    declared = run(broker.url, "declare")
    after = run(broker.url, "show", "--json")
    assert (before.returncode, declared.returncode, after.returncode) == (1, 0, 0)
    assert "topology declare" in before.stderr
    assert "created    queue     resolution.retry.2m" in declared.stderr
    assert declared.stdout == ""
    rows = json.loads(after.stdout)
    assert {row["state"] for row in rows} == {"ok"}
    assert {
        "kind": "queue",
        "name": "resolution.tokens",
        "state": "ok",
        "detail": "",
        "messages": 0,
        "consumers": 0,
        "policies": None,
    } in rows
    assert "WORKER_AMQP__MANAGEMENT_URL is not set" in after.stderr


@pytest.mark.long
def test_the_plain_table_is_aligned(broker: Broker) -> None:
    """Without a terminal the table is plain text in columns."""
    lines = run(broker.url, "show").stdout.splitlines()
    column = lines[0].index("state")
    assert len(lines) == 1 + 4 + 4 + 2 * 3
    assert {line[column : column + 7] for line in lines[1:]} == {"missing"}


@pytest.mark.long
def test_the_table_on_a_terminal(broker: Broker) -> None:
    """On a terminal the table has a frame."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "show"],
        env={**os.environ, "WORKER_AMQP__URL": broker.url, "TERM": "xterm", "COLUMNS": "160"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ):
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert "│ resolution.tokens" in shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other side is closed
        return b""


def test_the_delays_are_those_of_the_settings(broker: Broker) -> None:
    """Each configured delay has a retry queue, named as the delay is written shortest."""
    declared = run(broker.url, "declare", WORKER_RETRY__DELAYS="1500ms,120s")
    assert "queue     resolution.retry.1500ms" in declared.stderr
    assert "queue     resolution.retry.2m" in declared.stderr
    assert "resolution.retry.5s" not in declared.stderr


def test_a_difference(broker: Broker) -> None:
    """A difference is told by both commands with exit code 1, and nothing is deleted."""
    run(broker.url, "declare")
    broker.management.call("DELETE", "queues", broker.vhost, "resolution.parked")
    broker.management.call(
        "PUT", "queues", broker.vhost, "resolution.parked", body={"durable": True}
    )
    declared = run(broker.url, "declare")
    shown = run(broker.url, "show", "--json")
    assert (declared.returncode, shown.returncode) == (1, 1)
    assert "queue resolution.parked: " in declared.stderr
    assert "inequivalent arg" in declared.stderr
    assert f"`rabbitmqctl delete_queue -p {broker.vhost} NAME`" in shown.stderr
    assert "rabbitmqadmin" not in shown.stderr
    (row,) = (row for row in json.loads(shown.stdout) if row["state"] != "ok")
    assert (row["name"], row["state"], row["messages"]) == ("resolution.parked", "differs", 0)


@pytest.mark.long
def test_the_admin_url_is_used(broker: Broker) -> None:
    """The worker's own user may declare nothing; the administrator's address is used."""
    worker = broker.user(Permissions())
    refused = run(worker, "declare")
    declared = run(worker, "declare", WORKER_AMQP__ADMIN_URL=broker.url)
    assert (refused.returncode, declared.returncode) == (1, 0)
    assert "WORKER_AMQP__ADMIN_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.long
def test_an_exchange_that_differs(broker: Broker) -> None:
    """An exchange is not mended as a queue is: `rabbitmqctl` can't delete one."""
    body = {"type": "fanout", "durable": True}
    broker.management.call("PUT", "exchanges", broker.vhost, "resolution.events", body=body)
    run(broker.url, "declare")
    shown = run(broker.url, "show")
    assert shown.returncode == 1
    assert f"rabbitmqadmin --vhost={broker.vhost} delete exchange" in shown.stderr
    assert "rabbitmqctl" not in shown.stderr
    assert "then run `resolution-worker topology declare`" in shown.stderr


def test_what_may_not_be_compared_is_no_failure(broker: Broker) -> None:
    """For a user who may declare nothing, all is unchecked: that is said, and not as a fault."""
    run(broker.url, "declare")
    shown = run(broker.user(Permissions("^$", ".*", ".*")), "show", "--json")
    assert {row["state"] for row in json.loads(shown.stdout)} == {"unchecked"}
    assert shown.returncode == 0
    assert "WORKER_AMQP__ADMIN_URL" in shown.stderr
    assert "topology declare" not in shown.stderr


@pytest.mark.long
def test_an_absent_broker() -> None:
    """A broker that is not there ends the command with 69, in one line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for word in ("declare", "show"):
        done = run(f"amqp://user:hidden@127.0.0.1:{port}/", word)
        assert done.returncode == 69
        assert done.stderr.startswith(f"broker at 127.0.0.1:{port}: connection refused")
        assert done.stderr.count("\n") == 1
        assert "hidden" not in done.stderr


def test_bad_settings() -> None:
    """Settings that can't be read end the command with 78."""
    done = run("amqp://localhost/", "show", WORKER_RETRY__DELAYS="soon")
    assert done.returncode == 78
    assert "WORKER_RETRY__DELAYS" in done.stderr
