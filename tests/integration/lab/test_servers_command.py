"""`python -m worker.lab.servers` runs servers in the foreground and ends with all of them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest


@contextmanager
def _services(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "worker.lab.servers", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _exports(process: subprocess.Popen[str], count: int) -> Mapping[str, str]:
    """The first lines to export, once they are printed."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            found[name] = value
        if len(found) == count:
            break
    return found


def _wait_for_end(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
def test_signal_ends_everything(number: signal.Signals, tmp_path: Path) -> None:
    """A signal ends both servers and removes their data; that is no failure."""
    with _services(TMPDIR=str(tmp_path)) as process:
        exports = _exports(process, 2)
        assert sorted(exports) == ["WORKER_AMQP__URL", "WORKER_POSTGRES__DSN"]
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(20) == 0
    _wait_for_end(family)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_killed_command_leaves_no_server(tmp_path: Path) -> None:
    """Servers do not outlive a command that had no chance to end them."""
    with _services(TMPDIR=str(tmp_path)) as process:
        _exports(process, 2)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert family
    _wait_for_end(family)


def test_server_that_ends_by_itself_ends_the_command(tmp_path: Path) -> None:
    """Where a server dies, the command says which one and exits 69."""
    with _services("--only", "postgresql", TMPDIR=str(tmp_path)) as process:
        _exports(process, 1)
        (server,) = psutil.Process(process.pid).children()
        server.kill()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 69
    assert "PostgreSQL has ended by itself" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends another identity")
@pytest.mark.long
def test_root_without_user_namespaces_runs_postgres_as_nobody(tmp_path: Path) -> None:
    """Where a container forbids user namespaces, root runs PostgreSQL as another user."""
    refusal = tmp_path / "unshare"
    refusal.write_text("#!/bin/sh\nexit 1\n")
    refusal.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    private = tmp_path / "private"  # a folder for temporary files that only root can enter
    private.mkdir(mode=0o700)
    with _services("--only", "postgresql", PATH=path, TMPDIR=str(private)) as process:
        dsn = _exports(process, 1)["WORKER_POSTGRES__DSN"]
        (server,) = psutil.Process(process.pid).children()
        assert server.username() == "nobody"
        assert asyncio.run(_version(dsn)).startswith("PostgreSQL")
        process.terminate()
        assert process.wait(20) == 0


async def _version(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT version()"))
    finally:
        await connection.close()
