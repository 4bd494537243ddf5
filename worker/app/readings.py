"""How each metric that is read at a scrape is read, from the parts of one replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.adapters.metrics.readings import Reading
    from worker.app.components import Components
    from worker.app.fleet_counts import Counted
    from worker.core.rate.fleet import Pause

PARTS: Final = ("ledger", "publishing", "consuming", "topology", "fleet", "aws", "clock")


def readings(parts: Components) -> Mapping[str, Callable[[], Reading]]:
    """The readings by the names of their metrics."""
    replica, pipeline = parts.replica, parts.replica.pipeline
    return {
        "resolution_ready": lambda: float(not parts.faults()),
        "resolution_fault": lambda: dict.fromkeys(PARTS, 0.0) | dict.fromkeys(parts.faults(), 1.0),
        "resolution_in_flight": lambda: pipeline.pool.calling.count,
        "resolution_oldest_unsettled_seconds": lambda: _by_lane(pipeline.oldest_seconds),
        "resolution_longest_in_hand_seconds": lambda: _by_lane(
            parts.consuming.longest_in_hand_seconds
        ),
        "resolution_unacked": lambda: _by_lane(parts.consuming.unacked),
        "resolution_suspected_messages": lambda: parts.consuming.suspected,
        "resolution_rate_per_second": lambda: (
            {"local": replica.pacer.local()}
            | ({"shared": replica.pacer.shared} if replica.lease_keeper.is_current else {})
        ),
        "resolution_breaker_open": lambda: float(replica.breaker.fault is not None),
        "resolution_refused_alone": lambda: float(replica.breaker.state.alone),
        "resolution_clock_skew_seconds": lambda: replica.clock.skew_seconds,
        "resolution_secrets_kept": lambda: parts.secrets.kept,
        "resolution_queue_messages": lambda: parts.consuming.ready,
        "resolution_connections": lambda: {
            "consuming": parts.consuming.connections,
            "publishing": parts.publishing.connections,
            "ledger": parts.connect.connections,
        },
        "resolution_tasks": _tasks,
        **_of_lease(parts),
        **_of_fleet(parts),
    }


def _of_lease(parts: Components) -> Mapping[str, Callable[[], Reading]]:
    """What comes with a lease; absent while it is not renewed, and before the first one."""
    keeper, clock = parts.replica.lease_keeper, parts.replica.clock

    def of(read: Callable[[Pause | None], float]) -> Callable[[], Reading]:
        return lambda: read(keeper.pause) if keeper.is_current else None

    def lasted(pause: Pause | None) -> float:
        return 0.0 if pause is None else max(0.0, (clock.now() - pause.since).total_seconds())

    def until(pause: Pause | None) -> float:
        return 0.0 if pause is None or pause.until is None else pause.until.timestamp()

    return {
        "resolution_paused": of(lambda pause: float(pause is not None)),
        "resolution_pause_seconds": of(lasted),
        "resolution_pause_until_timestamp_seconds": of(until),
        "resolution_wanted_replicas": lambda: keeper.wanted if keeper.is_current else None,
    }


def _of_fleet(parts: Components) -> Mapping[str, Callable[[], Reading]]:
    """What the database counts; absent while it can't be asked."""

    def of(read: Callable[[Counted], Reading]) -> Callable[[], Reading]:
        return lambda: None if (last := parts.fleet_counts.last) is None else read(last)

    return {
        "resolution_queues_lost": of(lambda counted: counted.lost_queues),
        "resolution_dead_letters": of(lambda counted: counted.letters),
        "resolution_dead_letters_redeemable": of(lambda counted: counted.redeemable),
        "resolution_dead_letters_first_expiry_seconds": of(lambda counted: counted.first_expiries),
        "resolution_outbox_events": of(lambda counted: counted.events),
    }


def _by_lane(read: Callable[[Lane], float]) -> Mapping[str, float]:
    return {lane.label: read(lane) for lane in Lane}


def _tasks() -> float:
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:  # scraped without a running loop
        return 0.0
