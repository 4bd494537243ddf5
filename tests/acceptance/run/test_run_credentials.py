"""Helper programs that take their time to give out credentials, or never do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.web_tier import WebTier

SLOW_SECONDS = 6  # more than WORKER_AWS__TIMEOUT
NOTED = 'echo "$1 $$" >>"$0.log"'  # who started it, and its process
GIVE = (
    """printf '{"Version":1,"AccessKeyId":"simulator","SecretAccessKey":"simulator","""
    """"Expiration":"%s"}\\n' "$(date -u -d "+$good seconds" +%Y-%m-%dT%H:%M:%SZ)\""""
)


class Helper:
    """A program that gives out the simulator's credentials, as an operator sets it up.

    Args:
        home: Where to put it.
        lines: What it does before it gives them out; `good` is for how many seconds they are good.
    """

    def __init__(self, home: Path, *lines: str) -> None:
        self._path = home / "helper"
        self._path.write_text("\n".join(["#!/bin/sh", NOTED, "good=3600", *lines, GIVE, ""]))
        self._path.chmod(0o700)

    def settings(self, who: str) -> dict[str, str]:
        """The environment of a command for which it gives them out."""
        config = self._path.with_name(f"config-{who}")
        config.write_text(f"[profile slow]\ncredential_process = {self._path} {who}\n")
        return {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONFIG_FILE": str(config),
            "AWS_PROFILE": "slow",
        }

    def starts(self, who: str) -> list[int]:
        """The processes as which it was started for somebody."""
        log = self._path.with_name("helper.log")
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == who]


async def seen_at(stage: Installation) -> list[float]:
    """When the replicas were last heard of, on the database's clock."""
    rows = await stage.schema.rows("SELECT extract(EPOCH FROM seen_at) FROM resolution.replica")
    return [float(row[0]) for row in rows]


@pytest.mark.long
async def test_a_slow_helper_is_waited_for(stage: Installation, web: WebTier) -> None:
    """A helper slower than a call's bound is started once, by the worker and by `check` each."""
    helper = Helper(stage.home, f"sleep {SLOW_SECONDS}")
    worker = stage.start(**helper.settings("run"))
    checking = asyncio.create_task(
        asyncio.to_thread(stage.command, "check", "--json", **helper.settings("check"))
    )
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    await worker.ready()
    assert len(helper.starts("run")) == 1
    assert worker.logged("calls_stopped") == []

    done = await checking
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["aws credentials"]["detail"] == "found in a credential process"
    assert found["aws call"]["state"] == "ok"
    assert len(helper.starts("check")) == 1


@pytest.mark.long
async def test_a_pause_is_heard_while_a_helper_hangs(stage: Installation) -> None:
    """The lease waits for no credentials, nor does the end of the worker, which ends the helper."""
    helper = Helper(stage.home, "sleep 1000")
    worker = stage.start(**helper.settings("run"))
    await eventually(lambda: seen_at(stage), "the replica takes part")
    await eventually(lambda: helper.starts("run"), "the helper is started")
    await worker.unready("credential_process", "has not answered yet")

    paused = stage.command("pause", "--reason", "a trial", "--actor", "ada")
    assert paused.returncode == 0, paused.stderr
    await eventually(lambda: worker.logged("calls_paused"), "the pause is heard", seconds=2)

    (pid,) = helper.starts("run")
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_slow_renewal_stops_nothing(stage: Installation, web: WebTier) -> None:
    """While credentials that still hold are renewed all calls and all leases go on."""
    helper = Helper(
        stage.home, f'[ "$(wc -l <"$0.log")" -le 1 ] && good=910 || sleep {SLOW_SECONDS}'
    )
    worker = await stage.run(**helper.settings("run"))
    ids: list[str] = []
    heard: list[float] = []

    async def submit() -> None:
        while True:
            ids.append(await web.submit(*tokens("ok", 1)))
            await asyncio.sleep(0.05)

    async def sample() -> None:
        while True:
            heard.extend(await seen_at(stage))
            await asyncio.sleep(0.1)

    beside = [asyncio.create_task(submit()), asyncio.create_task(sample())]
    await eventually(lambda: len(helper.starts("run")) == 2, "they are renewed")
    until = time.monotonic() + SLOW_SECONDS + 1
    while time.monotonic() < until:
        assert not any(task.done() for task in beside)
        await asyncio.sleep(0.1)
    for task in beside:
        task.cancel()
    await asyncio.wait(beside)

    assert {(await web.event(message_id)).status for message_id in ids} == {"resolved"}
    assert len(ids) > 10 * SLOW_SECONDS
    assert max(after - before for before, after in pairwise(heard)) <= 2.5
    assert worker.logged("calls_stopped") == worker.logged("credentials_kept") == []
    attempts = await stage.schema.rows("SELECT DISTINCT attempts FROM resolution.outcomes")
    assert [row["attempts"] for row in attempts] == [1]
    assert len(helper.starts("run")) == 2
