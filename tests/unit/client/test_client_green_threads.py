"""What the blocking resolver says where gevent or eventlet have replaced threads and sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "clients" / "python"
MADE = "from resolution_client.blocking import Resolver; one = Resolver('amqp://a:b@127.0.0.1:1/')"
ASKED = "one.resolve('ok-1', wait=0.5)"
GEVENT = "from gevent import monkey; monkey.patch_all()"
SOCKETS = "from gevent import monkey; monkey.patch_all(thread=False)"
EVENTLET = "import eventlet; eventlet.monkey_patch()"


def fault(*lines: str) -> str:
    """The last line that a program writes which ends with an exception."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(lines)],
        env={**os.environ, "PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((GEVENT, MADE), "gevent's monkey.patch_all()"),
        ((SOCKETS, MADE), "gevent's monkey.patch_all()"),
        ((MADE, GEVENT, ASKED), "gevent's monkey.patch_all()"),  # made before a server forks
        ((EVENTLET, MADE), "eventlet's monkey_patch()"),
    ],
)
def test_it_is_refused(lines: tuple[str, ...], words: str) -> None:
    """It refuses with `ResolverError`, says why, and what to use instead."""
    said = fault(*lines)
    assert said.startswith("resolution_client.errors.ResolverError: ")
    assert words in said
    assert "blocks every request" in said
    assert "gthread" in said


@pytest.mark.parametrize("library", ["gevent.monkey", "eventlet.patcher"])
def test_importing_them_changes_nothing(library: str) -> None:
    """Where they are installed and have replaced nothing, it works."""
    said = fault(f"import {library}", MADE, ASKED)
    assert said.startswith("resolution_client.errors.NotPublished: ")
