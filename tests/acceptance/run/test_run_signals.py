"""Signals: an orderly drain, an immediate end, new settings without a restart."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

DRAIN_SECONDS = 5.0
SLACK_SECONDS = 2.0
HANGING = {"WORKER_AWS__TIMEOUT": "2m", "WORKER_POOL__DRAIN": f"{DRAIN_SECONDS:g}s"}


async def calling(worker: Worker, calls: int) -> None:
    """Wait until so many calls are in flight."""

    async def are_in_flight() -> bool:
        return await worker.metric("resolution_in_flight") == calls

    await eventually(are_in_flight, f"{calls} calls are in flight")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.long
async def test_a_drain_keeps_its_bound_while_aws_hangs(
    stage: Installation, web: WebTier, number: signal.Signals
) -> None:
    """With calls that never return it exits 0 within the bound, and each message is in its lane."""
    ids = {}
    for lane, count in {"live": 3, "backlog": 2}.items():
        ids[lane] = {await web.submit(token, lane=lane) for token in tokens("hang", count)}
    worker = await stage.run(**HANGING)
    await calling(worker, 5)

    began = time.monotonic()
    worker.send(number)
    code = await worker.exit_code()
    seconds = time.monotonic() - began

    print(f"drained in {seconds:.2f} s of {DRAIN_SECONDS:g} s")  # noqa: T201 - for the reader of a report
    assert code == 0
    assert seconds < DRAIN_SECONDS + SLACK_SECONDS
    assert await web.take("resolution.tokens") == ids["live"]
    assert await web.take("resolution.backlog") == ids["backlog"]


async def test_a_drain_in_the_middle_loses_nothing(stage: Installation, web: WebTier) -> None:
    """What a draining worker had in hand is settled or back; the next worker settles the rest."""
    ids = [await web.submit(token) for token in tokens("slow-150", 300)]
    first = await stage.run(WORKER_POOL__CONCURRENCY="8")
    await eventually(lambda: len(web.events) > 20, "some are settled")

    first.send(signal.SIGTERM)
    assert await first.exit_code() == 0
    settled = sum(len(told) for told in web.events.values())
    waiting = (await web.depths())["resolution.tokens"]
    assert settled + waiting == len(ids)
    assert waiting > 0

    await stage.run()
    told = [await web.event(message_id) for message_id in ids]

    assert {one.status for one in told} == {"resolved"}
    assert {len(web.events[message_id]) for message_id in ids} == {1}
    assert not (await web.depths())["resolution.tokens"]


async def test_what_is_given_back_is_whole(stage: Installation, web: WebTier) -> None:
    """A message that went back to its lane at a drain is answered as if it had never been away."""
    (token,) = tokens("slow-2500", 1)
    message_id = await web.submit(
        token, reply_to=web.reply_to, correlation_id="c", metadata={"n": [1]}, lane="backlog"
    )
    first = await stage.run(WORKER_AWS__TIMEOUT="2m", WORKER_POOL__DRAIN="500ms")
    await calling(first, 1)
    first.send(signal.SIGTERM)
    assert await first.exit_code() == 0

    second = await stage.run(WORKER_AWS__TIMEOUT="2m")
    reply = await web.reply(message_id)

    assert (reply.status, reply.correlation_id) == ("resolved", "c")
    assert reply.body["metadata"] == {"n": [1]}
    assert await second.metric("resolution_submissions_total", lane="backlog") == 1
    (row,) = await stage.schema.rows("SELECT attempts FROM resolution.outcomes")
    assert row["attempts"] == 1


async def test_a_second_signal_ends_it_at_once(stage: Installation, web: WebTier) -> None:
    """Who asks twice does not wait for the drain; the broker has the message back."""
    message_id = await web.submit(*tokens("hang", 1))
    worker = await stage.run(WORKER_AWS__TIMEOUT="2m", WORKER_POOL__DRAIN="1m")
    await calling(worker, 1)

    worker.send(signal.SIGTERM)
    await eventually(lambda: "draining" in worker.said, "it says that it drains")
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    code = await worker.exit_code()

    assert time.monotonic() - began < SLACK_SECONDS
    assert code != 0

    async def is_back() -> bool:
        return (await web.depths())["resolution.tokens"] == 1

    await eventually(is_back, "the message is back in its lane")
    assert await web.take("resolution.tokens") == {message_id}


@pytest.mark.long
async def test_it_ends_in_order_while_it_waits_for_its_servers(stage: Installation) -> None:
    """SIGTERM ends with 0 a worker that has neither broker nor database yet."""
    async with (
        proxy_to(stage.worker_url, shut=True) as broker,
        proxy_to(stage.schema.worker, shut=True) as database,
    ):
        worker = stage.start(WORKER_AMQP__URL=broker.url, WORKER_POSTGRES__DSN=database.url)
        await worker.unready("ledger")

        began = time.monotonic()
        worker.send(signal.SIGTERM)

        assert await worker.exit_code() == 0
        assert time.monotonic() - began < DRAIN_SECONDS
        assert "Traceback" not in worker.said


async def ceiling(worker: Worker) -> float:
    """Calls a second that the worker allows itself."""
    return await worker.metric("resolution_rate_per_second", scope="local")


async def test_settings_are_reloaded(stage: Installation, web: WebTier, tmp_path: Path) -> None:
    """SIGHUP takes a new ceiling and log level from the file; a bad file is refused by name."""
    path = tmp_path / "worker.toml"

    def write(rate: Any, level: str) -> None:
        path.write_text(f'[rate]\nceiling = {json.dumps(rate)}\n[log]\nlevel = "{level}"\n')

    def tells(message_id: str) -> bool:
        lines = [line for line in worker.log if line["level"] == "debug"]
        return any(line.get("message_id") == message_id for line in lines)

    write(5, "info")
    worker = stage.start("--config", str(path))
    await worker.ready()
    quiet = await web.settled(*tokens("ok", 1))
    assert await ceiling(worker) == 5

    write(50, "debug")
    worker.send(signal.SIGHUP)

    async def is_reloaded() -> bool:
        return await ceiling(worker) == 50

    await eventually(is_reloaded, "the new ceiling")
    loud = await web.settled(*tokens("ok", 1))
    await eventually(lambda: tells(loud.body["message_id"]), "a line for each token")
    assert not tells(quiet.body["message_id"])

    write("lots", "debug")
    worker.send(signal.SIGHUP)
    await eventually(lambda: "ceiling" in "".join(worker.err[-3:]), "the fault is named")
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    assert await ceiling(worker) == 50
    assert worker.process.poll() is None
    assert "Traceback" not in worker.said


@pytest.mark.long
async def test_a_reloaded_ceiling_is_kept(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """After a reload calls go at the new pace, though they waited at the old one."""
    path = tmp_path / "worker.toml"
    path.write_text("[rate]\nceiling = 0.05\n")
    worker = stage.start("--config", str(path))
    await worker.ready()
    ids = [await web.submit(token) for token in tokens("ok", 20)]
    await web.event(ids[0])

    path.write_text("[rate]\nceiling = 100\n")
    worker.send(signal.SIGHUP)

    for message_id in ids:
        assert (await web.event(message_id, seconds=10)).status == "resolved"
