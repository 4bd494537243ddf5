"""What waits: in a queue that went missing, and in the hands of replicas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.installation import DELAYS
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier


async def test_a_queue_that_went_missing(stage: Installation, web: WebTier) -> None:
    """Tokens are resolved meanwhile; a declaration makes it ready again, and no more than that."""
    worker = await stage.run()
    lost = f"resolution.retry.{DELAYS.split(',')[0]}"
    await eventually(lambda: _is_known(stage, lost), "the queue is noted")
    stage.broker.management.call("DELETE", "queues", stage.broker.vhost, lost)
    said = await worker.unready("topology", lost, "messages may be lost")
    assert "topology declare" in said
    assert (await web.event(await web.submit(*tokens("ok", 1)))).status == "resolved"

    declared = stage.command("topology", "declare", WORKER_AMQP__ADMIN_URL=stage.broker.url)
    assert declared.returncode == 0
    await worker.ready()
    assert await worker.metric("resolution_queues_lost") == 1
    assert len(worker.logged("messages_may_be_lost")) == 1
    shown = stage.command("status")
    assert (shown.returncode, f"{lost} went missing" in shown.stderr) == (1, True), shown.stderr
    assert "lost queues" in stage.command("check").stdout

    reason = ("--reason", "a policy", "--actor", "alice")
    ended = stage.command("topology", "acknowledge", *reason)
    assert f"acknowledged: {lost}, missing since 20" in ended.stderr
    await eventually(lambda: _is_over(worker), "the metric falls")
    assert "went missing" not in stage.command("status").stderr
    again = stage.command("topology", "acknowledge", *reason)
    assert again.stderr == "no queue went missing\n"


async def _is_known(stage: Installation, queue: str) -> bool:
    return bool(
        await stage.schema.rows("SELECT FROM resolution.broker_queue WHERE name = $1", queue)
    )


async def _is_over(worker: Worker) -> bool:
    return await worker.metric("resolution_queues_lost") == 0


async def test_what_waits_in_the_hands_of_a_replica_is_seen_from_any_machine(
    stage: Installation, web: WebTier
) -> None:
    """Under a pause the queues are empty, and yet buyers wait: how many, and for how long."""
    assert stage.command("pause", "--reason", "a test", "--actor", "alice").returncode == 0
    await stage.run()
    for token in tokens("ok", 4):
        await web.submit(token)

    def waiting() -> bool:
        told = json.loads(stage.command("status", "--json").stdout)
        live = told["queues"][0]
        return bool(
            (live["ready"], live["unacked"]) == (0, 4) and told["oldest_seconds"]["live"] > 0
        )

    await eventually(waiting, "what is unacked is shown")
    shown = stage.command("status")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[1].split()[:3] == ["resolution.tokens", "0", "4"]
    assert "oldest        live " in shown.stdout


async def test_what_expired_before_a_worker_ran_is_answered(
    stage: Installation, web: WebTier
) -> None:
    """A publisher's `expiration` costs the buyer nothing: no letter, but the answer."""
    (token,) = tokens("ok", 1)
    message_id = "soon over"
    body = json.dumps({"registration_token": token}).encode()
    await web.publish(body, message_id=message_id, reply_to=web.reply_to, expiration=0.1)
    await eventually(lambda: _is_parked(web), "it has expired")
    worker = await stage.run()
    assert (await web.event(message_id)).status == "resolved"
    assert (await web.reply(message_id)).status == "resolved"
    assert await worker.metric("resolution_oddities_total", member="expiration") == 1
    assert set((await web.depths()).values()) == {0}
    assert await stage.schema.rows("SELECT FROM resolution.dead_letter") == []


async def _is_parked(web: WebTier) -> bool:
    return await web.depth("resolution.parked") == 1
