"""The metrics that are counted and timed as things happen: words, labels and buckets."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from worker import __version__
from worker.adapters.metrics.readings import Readings
from worker.core.dead_letters.retention import Chore
from worker.core.records import FaultKind, Lane, Status
from worker.core.token.outgoing import Kind
from worker.core.token.refused_rows import KeptAs
from worker.core.token.replies import Loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A buyer waits for half a minute at most, by the objective: fine there, and up to a token's life.
_WAIT_SECONDS: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60),
    *(120, 180, 300, 450, 600, 900, 1800, 3600, 7200, 14400),
)
_CALL_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WRITE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_BATCH_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200)

_CALL_RESULTS: Final = ("ok", *(kind.value for kind in FaultKind))
_RETRY_REASONS: Final = (FaultKind.THROTTLED.value, FaultKind.TRANSIENT.value)
_ODDITIES: Final = (
    "reply_to",
    "reply_unroutable",
    "received_at",
    "source",
    "headers",
    "expiration",
    "overflow",
)


class Families:
    """All metrics of a worker, in a registry of their own.

    Children are bound once: a bound counter costs a quarter of a lookup.

    Attributes:
        registry: What `/metrics` serves.
        readings: What is read at each scrape.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.readings = Readings()
        self.registry.register(self.readings)
        self._submissions_and_waits()
        self._odd_messages()
        self._calls()
        self._ledger()
        self._answers()
        self._process()

    def _submissions_and_waits(self) -> None:
        submissions = Counter(
            "resolution_submissions_total",
            "Messages settled or moved to another queue.",
            ["lane"],
            registry=self.registry,
        )
        outcomes = Counter(
            "resolution_outcomes_total",
            "Final answers to submissions.",
            ["status", "lane", "repeated"],
            registry=self.registry,
        )
        waits = Histogram(
            "resolution_wait_seconds",
            "Time from the buyer's arrival to the final answer, without replays of dead letters, "
            "by the lane in which the buyer came in.",
            ["lane"],
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self._submissions = {lane: submissions.labels(lane.label) for lane in Lane}
        self._outcomes = {
            (status.value, lane, repeated): outcomes.labels(
                status.value, lane.label, str(repeated).lower()
            )
            for status in Status
            for lane in Lane
            for repeated in (False, True)
        }
        resolved = Histogram(
            "resolution_resolved_wait_seconds",
            "The same of those alone whose token a call resolved: strangers' tokens never do.",
            ["lane"],
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self._waits = {lane: waits.labels(lane.label) for lane in Lane}
        self._resolved_waits = {lane: resolved.labels(lane.label) for lane in Lane}

    def _odd_messages(self) -> None:
        self._odd = self._counters(
            "resolution_oddities_total",
            "What was ignored in messages, and messages that the broker took out of a lane.",
            "member",
            _ODDITIES,
        )
        self._lost = self._counters(
            "resolution_tokens_lost_total",
            "Tokens that failed through no fault of their own, without replays and repeats: dead, "
            "parked by the broker or for a refused row, or outlived while they waited with us.",
            "how",
            Loss,
        )

    def _calls(self) -> None:
        self._results = self._counters(
            "resolution_aws_calls_total",
            "Calls to ResolveCustomer by result.",
            "result",
            _CALL_RESULTS,
        )
        self._retries = self._counters(
            "resolution_retries_total",
            "Calls to be retried, by reason.",
            "reason",
            _RETRY_REASONS,
        )
        self._call_seconds = self._histogram(
            "resolution_aws_call_duration_seconds",
            "Duration of calls to ResolveCustomer.",
            _CALL_SECONDS,
        )

    def _ledger(self) -> None:
        self._rows = self._histogram(
            "resolution_write_batch_rows", "Rows in a committed batch.", _BATCH_ROWS
        )
        self._write_seconds = self._histogram(
            "resolution_write_duration_seconds",
            "Duration of a batch's transaction.",
            _WRITE_SECONDS,
        )
        self._refused_rows = self._counters(
            "resolution_rows_refused_total",
            "Rows that the database refused for their data, by what there is of them now.",
            "kept_as",
            KeptAs,
        )
        self._retained = self._counters(
            "resolution_retention_rows_total",
            "Rows shredded, archived or deleted by retention.",
            "action",
            Chore,
        )
        self._round = Gauge(
            "resolution_retention_last_round_timestamp_seconds",
            "When a round of retention last succeeded; before that, when the process started.",
            registry=self.registry,
        )
        self._round.set_to_current_time()

    def _answers(self) -> None:
        kinds = (Kind.REPLY, Kind.EVENT)
        self._refused = self._counters(
            "resolution_answers_refused_total",
            "Times that a queue refused a reply or an event, each try counted.",
            "kind",
            kinds,
        )
        self._dropped = self._counters(
            "resolution_answers_dropped_total",
            "Replies and events dropped because their queues did not accept them.",
            "kind",
            kinds,
        )

    def _process(self) -> None:
        self._lag = self._histogram(
            "resolution_loop_lag_seconds",
            "How late the event loop came to a task that was due, looked at four times a second.",
            _LAG_SECONDS,
        )
        info = Info("resolution_build", "Version of the running build.", registry=self.registry)
        info.info({"version": __version__, "python": platform.python_version()})

    def _histogram(self, name: str, words: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, words, buckets=buckets, registry=self.registry)

    def _counters(
        self, name: str, words: str, label: str, values: Iterable[str]
    ) -> dict[str, Counter]:
        """One counter for each value of a label."""
        family = Counter(name, words, [label], registry=self.registry)
        return {value: family.labels(value) for value in values}
