"""What one-off commands say of a database that takes connections and never answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from worker.adapters.sealing import generate

COMMAND = str(Path(sys.executable).with_name("resolution-worker"))
WHY = ("--all", "--yes", "--reason", "r")


@pytest.mark.parametrize(
    "arguments",
    [("migrate",), ("dead-letters", "discard", *WHY), ("dead-letters", "replay", *WHY)],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.sampled(3)
def test_it_is_to_be_run_again(arguments: tuple[str, ...]) -> None:
    """Nothing tries again by itself after the command has ended: a person is to."""
    done = frozen(*arguments)
    assert "did not answer in time" in done
    assert "run it again" in done
    assert "if it lasts" in done


@pytest.mark.parametrize(
    "arguments",
    [
        ("rate",),
        ("pause", "--reason", "r"),
        ("resume", "--reason", "r"),
        ("dead-letters", "list"),
        ("dead-letters", "groups"),
    ],
    ids=" ".join,
)
@pytest.mark.sampled(5)
def test_the_database_is_named(arguments: tuple[str, ...]) -> None:
    """Which database did not answer is told with host and port."""
    assert frozen(*arguments).startswith("database at 127.0.0.1:")


def frozen(*arguments: str) -> str:
    """What a command says that meets a frozen server."""
    seal, opening = generate()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [COMMAND, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "WORKER_AMQP__URL": "amqp://u:p@127.0.0.1:1/",
                "WORKER_DEAD_LETTERS__SEAL_KEY": seal,
                "WORKER_DEAD_LETTERS__OPEN_KEYS": opening,
                "WORKER_POSTGRES__DSN": f"postgresql://u:hidden@127.0.0.1:{port}/d",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 69
    assert "hidden" not in done.stdout + done.stderr
    return done.stderr
