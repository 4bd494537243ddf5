"""What Prometheus finds at `/metrics`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from harness.installation import DELAYS
from harness.waiting import eventually

if TYPE_CHECKING:
    from harness.programs import Worker
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
    "resolution_rows_refused_total": {"kept_as": {"reduced", "dead_letter", "parked"}},
}
GAUGES = {
    "resolution_oldest_unsettled_seconds": {"lane": LANES},
    "resolution_in_flight": {},
    "resolution_rate_per_second": {"scope": {"shared", "local"}},
    "resolution_breaker_open": {},
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
HISTOGRAMS = (
    "resolution_aws_call_duration_seconds",
    "resolution_wait_seconds",
    "resolution_write_batch_rows",
    "resolution_write_duration_seconds",
)


async def test_every_promised_metric_is_there(shop: WebTier, shared_worker: Worker) -> None:
    """Each metric has its name and exactly its labels, and every label the promised values."""
    for token in ("ok", "invalid", "throttle-1"):
        await shop.settled(f"{token}-{uuid.uuid4().hex}")

    async def is_measured() -> bool:
        found = await shared_worker.metrics()
        return len(found.get("resolution_queue_messages", {})) >= len(DELAYS.split(",")) + 4

    await eventually(is_measured, "the queues are measured")
    found = await shared_worker.metrics()

    for name, labels in (COUNTERS | GAUGES).items():
        assert name in found, name
        for series in found[name]:
            assert {label for label, _ in series} == set(labels), name
        for label, values in labels.items():
            assert {dict(series)[label] for series in found[name]} == values, name
    for name in HISTOGRAMS:
        assert {label for series in found[f"{name}_bucket"] for label, _ in series} == {"le"}
        assert found[f"{name}_count"][()] > 0, name
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
    before = await shared_worker.metric("resolution_wait_seconds_sum")
    born = datetime.now(UTC) - timedelta(seconds=60)

    await shop.settled(f"ok-{uuid.uuid4().hex}", received_at=born.isoformat())

    async def waited() -> bool:
        return await shared_worker.metric("resolution_wait_seconds_sum") >= before + 60

    await eventually(waited, "a wait of a minute", 5)
