"""What becomes of a command whose output nobody reads, or nothing can hold."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("resolution-worker"))
NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "PATH": os.environ["PATH"],
    "WORKER_AMQP__URL": "amqp://u:p@127.0.0.1:1/",
    "WORKER_AWS__ENDPOINT_URL": "http://127.0.0.1:1",
    "WORKER_HTTP__PORT": "0",
    "WORKER_POSTGRES__DSN": "postgresql://u:p@127.0.0.1:1/d",
}
PRINTING = (["check"], ["check", "--json"], ["status"], ["keygen"], ["--version"], ["--help"])


def run(arguments: list[str], stdout: int) -> subprocess.CompletedProcess[str]:
    """Run a command in a set-up where nothing answers, so that it prints and soon ends."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=NOWHERE,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
@pytest.mark.sampled(3)
def test_a_closed_pipe_ends_a_command_quietly(arguments: list[str]) -> None:
    """Where nobody reads on, the command ends as SIGPIPE would have ended it, without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(arguments, writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_that_is_closed_on_the_way() -> None:
    """As under `| head -1`: the reader leaves while the command still has something to say."""
    reading, writing = os.pipe()
    # With room for some lines of it, so that it can't have said all before the reader leaves.
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
    filled = os.write(writing, b" " * (mmap.PAGESIZE - 1000))
    with subprocess.Popen(
        [COMMAND, "check"], env=NOWHERE, stdout=writing, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writing)
        patience = time.monotonic() + 60
        while _unread(reading) <= filled and time.monotonic() < patience:
            time.sleep(0.05)
        os.close(reading)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (141, "")


def _unread(reading: int) -> int:
    """How many bytes a pipe holds."""
    (held,) = struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"0000"))
    return int(held)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
@pytest.mark.sampled(3)
def test_a_full_disk_is_told_in_one_line(arguments: list[str]) -> None:
    """Where the output can't be stored, that is said in one line, and the exit code is 1."""
    with Path("/dev/full").open("w") as full:
        done = run(arguments, full.fileno())
    assert done.returncode == 1
    assert done.stderr == "can't write standard output: No space left on device\n"


def test_other_faults_are_not_taken_for_lost_output() -> None:
    """A command that fails while its output is well says what it always said."""
    done = run(["topology", "show"], subprocess.DEVNULL)
    assert done.returncode == 69
    assert "connection refused" in done.stderr
