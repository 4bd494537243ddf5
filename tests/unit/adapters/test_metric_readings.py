"""Metrics that are read at each scrape."""

from __future__ import annotations

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from worker.adapters.metrics.readings import READABLE, Readings


def scraped(readings: Readings) -> list[str]:
    """The samples as text."""
    registry = CollectorRegistry()
    registry.register(readings)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_what_is_unknown_is_absent() -> None:
    """None gives no sample, a number one, and a mapping one for each value of the label."""
    readings = Readings()
    assert scraped(readings) == []
    read = dict.fromkeys((each.name for each in READABLE), lambda: None)
    readings.watch(
        read
        | {
            "resolution_ready": lambda: 1.0,
            "resolution_unacked": lambda: {"live": 2, "backlog": 0},
            "resolution_connections": lambda: {"ledger": 3},
        }
    )
    assert scraped(readings) == [
        "resolution_ready 1.0",
        'resolution_unacked{lane="live"} 2.0',
        'resolution_unacked{lane="backlog"} 0.0',
        'resolution_connections_total{link="ledger"} 3.0',
    ]


def test_a_reading_that_fails_takes_no_other_away() -> None:
    """What can't be read is absent, and the log says so."""
    readings = Readings()
    read = dict.fromkeys((each.name for each in READABLE), lambda: 1.0)
    readings.watch(read | {"resolution_ready": lambda: 1 / 0})
    with structlog.testing.capture_logs() as logs:
        found = scraped(readings)
    assert [line for line in found if "resolution_ready" in line] == []
    assert len(found) > 10
    assert [(line["event"], line["metric"]) for line in logs] == [
        ("metric_not_read", "resolution_ready")
    ]


def test_a_reading_that_nobody_knows_or_gives_is_refused() -> None:
    """Each metric is read, and nothing is read that is no metric."""
    read = dict.fromkeys((each.name for each in READABLE), lambda: 0.0)
    del read["resolution_ready"]
    with pytest.raises(ValueError, match="resolution_ready, resolution_red"):
        Readings().watch(read | {"resolution_red": lambda: 0.0})
