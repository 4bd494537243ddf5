"""What Prometheus finds at `/metrics`."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness import metrics_page
from harness.installation import DELAYS
from harness.programs import Worker
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.web_tier import WebTier

LANES = {"live", "backlog", "crowd"}
COUNTERS = {
    "resolution_submissions_total": {"lane": LANES},
    "resolution_outcomes_total": {
        "lane": LANES,
        "status": {"resolved", "rejected", "expired", "dead", "malformed"},
        "repeated": {"true", "false"},
    },
    "resolution_aws_calls_total": {
        "result": {"ok", "token", "throttled", "transient", "systemic"},
    },
    "resolution_retries_total": {"reason": {"throttled", "transient"}},
    "resolution_answers_refused_total": {"kind": {"reply", "event"}},
    "resolution_answers_dropped_total": {"kind": {"reply", "event"}},
    "resolution_connections_total": {"link": {"consuming", "publishing", "ledger"}},
    "resolution_tokens_lost_total": {"how": {"dead", "parked", "outlived"}},
    "resolution_rows_refused_total": {"kept_as": {"reduced", "dead_letter", "parked"}},
}
GAUGES = {
    "resolution_oldest_unsettled_seconds": {"lane": LANES},
    "resolution_longest_in_hand_seconds": {"lane": LANES},
    "resolution_unacked": {"lane": LANES},
    "resolution_in_flight": {},
    "resolution_paused": {},
    "resolution_pause_seconds": {},
    "resolution_pause_until_timestamp_seconds": {},
    "resolution_secrets_kept": {},
    "resolution_rate_per_second": {"scope": {"shared", "local"}},
    "resolution_breaker_open": {},
    "resolution_wanted_replicas": {},
    "resolution_dead_letters": {
        "reason": {"rejected", "expired", "dead", "malformed", "parked"},
    },
    "resolution_dead_letters_redeemable": {},
    "resolution_queue_messages": {
        "queue": {
            "resolution.tokens",
            "resolution.backlog",
            "resolution.crowd",
            "resolution.parked",
            *(f"resolution.retry.{delay}" for delay in DELAYS.split(",")),
        },
    },
}
HISTOGRAMS = {
    "resolution_aws_call_duration_seconds": (),
    "resolution_loop_lag_seconds": (),
    "resolution_wait_seconds": (("lane", "live"),),
    "resolution_resolved_wait_seconds": (("lane", "live"),),
    "resolution_write_batch_rows": (),
    "resolution_write_duration_seconds": (),
}
OF_THE_BROKER = {"resolution_queue_messages"}
OF_THE_DATABASE = {
    "resolution_dead_letters",
    "resolution_dead_letters_first_expiry_seconds",
    "resolution_dead_letters_redeemable",
    "resolution_outbox_events",
    "resolution_queues_lost",
    "resolution_paused",
    "resolution_pause_seconds",
    "resolution_pause_until_timestamp_seconds",
    "resolution_wanted_replicas",
}


async def test_every_promised_metric_is_there(shop: WebTier, shared_worker: Worker) -> None:
    """Each metric has its name and exactly its labels, and every label the promised values."""
    for token in ("ok", "invalid", "throttle-1"):
        await shop.settled(f"{token}-{uuid.uuid4().hex}")

    async def is_measured() -> bool:
        found = await shared_worker.metrics()
        queues = found.get("resolution_queue_messages", {})
        others = {"resolution_dead_letters", "resolution_wanted_replicas"}
        return len(queues) >= len(DELAYS.split(",")) + 4 and others <= found.keys()

    await eventually(is_measured, "queues, dead letters and what is wanted are measured")
    found = await shared_worker.metrics()

    for name, labelled in (COUNTERS | GAUGES).items():
        assert name in found, name
        for series in found[name]:
            assert {label for label, _ in series} == set(labelled), name
        for label, values in labelled.items():
            assert {dict(series)[label] for series in found[name]} == values, name
    for name, labels in HISTOGRAMS.items():
        given = {label for series in found[f"{name}_bucket"] for label, _ in series}
        assert given == {"le", *dict(labels)}, name
        assert found[f"{name}_count"][labels] > 0, name
    ((build, one),) = found["resolution_build_info"].items()
    assert (one, "version" in dict(build)) == (1.0, True)


async def test_no_label_tells_of_a_token_or_customer(shop: WebTier, shared_worker: Worker) -> None:
    """Nothing derived from a token or a customer is found among the labels."""
    told = (await shop.settled(f"ok-{uuid.uuid4().hex}")).body
    secrets = [told["token_sha256"][:16], told["customer_aws_account_id"], told["license_arn"]]

    _, text = await shared_worker.get("/metrics")

    assert "resolution_outcomes_total" in text
    assert [one for one in [*secrets, told["message_id"]] if one in text] == []


async def test_the_buyers_wait_is_measured_from_the_arrival(
    shop: WebTier, shared_worker: Worker
) -> None:
    """A token that its buyer brought a minute ago has waited a minute, whenever published."""
    before = await shared_worker.metric("resolution_wait_seconds_sum", lane="live")
    born = datetime.now(UTC) - timedelta(seconds=60)

    await shop.settled(f"ok-{uuid.uuid4().hex}", received_at=born.isoformat())

    async def waited() -> bool:
        now = await shared_worker.metric("resolution_wait_seconds_sum", lane="live")
        return now >= before + 60

    await eventually(waited, "a wait of a minute", 5)


async def test_what_cannot_be_known_is_absent(stage: Installation, web: WebTier) -> None:
    """While broker and database are away nothing old is shown of them; later all is back."""
    async with proxy_to(stage.worker_url) as broker, proxy_to(stage.schema.worker) as database:
        worker = await stage.run(WORKER_AMQP__URL=broker.url, WORKER_POSTGRES__DSN=database.url)
        await web.settled("ok-1")

        async def shown() -> set[str]:
            metrics = await worker.metrics()
            return (OF_THE_BROKER | OF_THE_DATABASE) & metrics.keys()

        async def all_is_shown() -> bool:
            return await shown() == OF_THE_BROKER | OF_THE_DATABASE

        async def nothing_is_shown() -> bool:
            return not await shown()

        await eventually(all_is_shown, "all is shown")
        opened = await worker.metrics()
        await broker.shut()
        await database.shut()
        await eventually(nothing_is_shown, "nothing stale is shown")
        await broker.open()
        await database.open()
        await eventually(all_is_shown, "all is shown again")
        reconnected = await worker.metrics()
    links = "resolution_connections_total"
    assert all(reconnected[links][link] > before for link, before in opened[links].items())


async def test_the_page_of_metrics_is_complete(shared_worker: Worker) -> None:
    """docs/metrics.md is what the registry says, and names all that a worker serves."""
    text = metrics_page.text()
    assert metrics_page.PAGE.read_text(encoding="utf-8") == text, "run `make pages`"
    await shared_worker.ready()
    served = {name for name in await shared_worker.metrics() if name.startswith("resolution_")}
    assert len(served) > 30
    untold = {re.sub("_(bucket|sum|count|created)$", "", name) for name in served}
    assert [name for name in untold if f"`{name}" not in text] == []


async def test_a_pause_is_shown(stage: Installation) -> None:
    """Whether calls are paused, for how long already, and until when."""
    worker = await stage.run()
    assert await worker.metric("resolution_paused") == 0.0
    why = ("--actor", "somebody", "--reason", "a test")
    paused = stage.command("pause", "--for", "30m", *why)
    assert paused.returncode == 0, paused.stderr

    async def is_paused() -> bool:
        return await worker.metric("resolution_paused") == 1.0

    await eventually(is_paused, "the pause is shown")
    assert 0 <= await worker.metric("resolution_pause_seconds") < 60
    until = await worker.metric("resolution_pause_until_timestamp_seconds")
    assert 1500 < until - datetime.now(UTC).timestamp() <= 1800


@pytest.mark.long
async def test_a_secret_whose_file_is_gone(stage: Installation, tmp_path: Path) -> None:
    """It is counted before anybody needs a connection, and no more once the file is back."""
    address = tmp_path / "WORKER_AMQP__URL"
    address.write_text(stage.worker_url)
    environment = stage.environment(WORKER_SECRETS_DIR=str(tmp_path))
    del environment["WORKER_AMQP__URL"]
    worker = Worker(environment)
    stage.started.append(worker)
    await worker.ready()
    address.unlink()

    async def kept() -> bool:
        return await worker.metric("resolution_secrets_kept") == 1.0

    await eventually(kept, "the secret is counted")
    assert worker.logged("secrets_kept")
    address.write_text(stage.worker_url)

    async def none_kept() -> bool:
        return await worker.metric("resolution_secrets_kept") == 0.0

    await eventually(none_kept, "the file is back")
