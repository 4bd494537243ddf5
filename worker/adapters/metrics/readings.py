"""What is read at each scrape: a state of the process or of the fleet, absent while unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

log: Final = structlog.get_logger()

Reading: TypeAlias = "float | Mapping[str, float] | None"
"""One value, or one for each value of the label; None while it is unknown."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A metric that is read at each scrape.

    Attributes:
        words: What it says, for its HELP line and the documents.
        label: Its label, if it has one.
        shared: Whether it describes the whole fleet, so that each replica has the same.
        counts: Whether it is a counter; a gauge otherwise.
    """

    name: str
    words: str
    label: str | None = None
    shared: bool = False
    counts: bool = False

    def family(self, reading: Reading) -> Metric:
        """The metric with these samples."""
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        words = f"{self.words}; the same on each replica." if self.shared else f"{self.words}."
        family = kind(self.name, words, labels=[self.label] if self.label else ())
        if isinstance(reading, (int, float)):
            family.add_metric([], reading)
        elif reading is not None:
            for value, number in reading.items():
                family.add_metric([value], number)
        return family


READABLE: Final = (
    Readable("resolution_ready", "1 while this replica is able to work"),
    Readable(
        "resolution_fault", "1 while a fault of this part keeps the replica from working", "part"
    ),
    Readable("resolution_in_flight", "Calls to AWS in flight"),
    Readable(
        "resolution_oldest_unsettled_seconds",
        "Age of the oldest submission in hand, by its own time; 0 without any",
        "lane",
    ),
    Readable(
        "resolution_longest_in_hand_seconds",
        "How long this process has had its oldest message in hand; 0 without any",
        "lane",
    ),
    Readable("resolution_unacked", "Messages in this replica's hand", "lane"),
    Readable(
        "resolution_suspected_messages",
        "Messages in hand that may have crashed a process and are handled in small groups",
    ),
    Readable(
        "resolution_rate_per_second",
        "Calls a second allowed for all replicas together (shared; absent while the database is "
        "away) and for this one (local)",
        "scope",
    ),
    Readable(
        "resolution_wanted_replicas",
        "Replicas that the rate and the waiting tokens are worth, for autoscalers; absent at the "
        "start, and while the database is away",
        shared=True,
    ),
    Readable("resolution_breaker_open", "1 while calls are stopped because of a systemic fault"),
    Readable(
        "resolution_refused_alone",
        "1 while AWS refuses this replica and accepts others: it takes no messages",
    ),
    Readable(
        "resolution_paused",
        "1 while an operator has paused all calls; absent while the database is away",
        shared=True,
    ),
    Readable(
        "resolution_pause_seconds", "How long the pause has lasted; 0 without one", shared=True
    ),
    Readable(
        "resolution_pause_until_timestamp_seconds",
        "When the pause ends by itself; 0 without one, or if it does not",
        shared=True,
    ),
    Readable(
        "resolution_clock_skew_seconds",
        "Seconds by which this machine's clock is ahead of the database's",
    ),
    Readable(
        "resolution_secrets_kept",
        "Secrets in use whose file is gone, unreadable or invalid since",
    ),
    Readable(
        "resolution_queue_messages",
        "Messages waiting in a queue; absent while the broker is away",
        "queue",
        shared=True,
    ),
    Readable(
        "resolution_queues_lost",
        "Queues that went missing, not yet acknowledged; absent while the database is away",
        shared=True,
    ),
    Readable(
        "resolution_dead_letters",
        "Open dead letters; absent while the database is away",
        "reason",
        shared=True,
    ),
    Readable(
        "resolution_dead_letters_redeemable",
        "Open dead letters whose token may still be redeemed; absent while the database is away",
        shared=True,
    ),
    Readable(
        "resolution_dead_letters_first_expiry_seconds",
        "Seconds until the first open dead letter expires, +Inf if none can be redeemed; absent "
        "while the database is away",
        "reason",
        shared=True,
    ),
    Readable(
        "resolution_outbox_events",
        "Events that wait for an observer's queue to accept them; absent while the database is "
        "away",
        shared=True,
    ),
    Readable(
        "resolution_connections",
        "Connections opened: those of this process's start, and reconnects",
        "link",
        counts=True,
    ),
    Readable("resolution_tasks", "asyncio tasks of this process"),
)


class Readings(Collector):
    """Reads each of `READABLE` at each scrape, once it has been told how."""

    def __init__(self) -> None:
        self._read: Mapping[str, Callable[[], Reading]] = {}

    def watch(self, read: Mapping[str, Callable[[], Reading]]) -> None:
        """Read these from now on, by the names of their metrics, all of which must be given.

        Raises:
            ValueError: Some are missing, or unknown.
        """
        if odd := {each.name for each in READABLE} ^ read.keys():
            raise ValueError(f"not readable, or not read: {', '.join(sorted(odd))}")
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """The metrics, without samples."""
        return (each.family(None) for each in READABLE)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        for each in READABLE:
            yield each.family(self._reading(each.name))

    def _reading(self, name: str) -> Reading:
        """What is read; None if that fails: one bad reading must not take all metrics away."""
        read = self._read.get(name)
        try:
            return None if read is None else read()
        except Exception:
            log.exception("metric_not_read", metric=name)
            return None
