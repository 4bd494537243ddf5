"""The metrics by name, with their words, labels and buckets."""

from __future__ import annotations

import asyncio
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
from worker.core.dead_letters.retention import Chore
from worker.core.records import FaultKind, Lane, LetterReason, Status
from worker.core.token.outgoing import Kind
from worker.core.token.refused_rows import KeptAs

if TYPE_CHECKING:
    from collections.abc import Iterable

_WAIT_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 14400)
_CALL_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WRITE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_BATCH_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200)

_CALL_RESULTS: Final = ("ok", *(kind.value for kind in FaultKind))
_RETRY_REASONS: Final = (FaultKind.THROTTLED.value, FaultKind.TRANSIENT.value)
PARTS: Final = ("ledger", "publishing", "consuming", "topology", "fleet", "aws", "clock")
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
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._pipeline()
        self._calls()
        self._gate()
        self._ledger()
        self._fleet()
        self._answers()
        self._retention()
        self._state()
        info = Info("resolution_build", "Version of the running build.", registry=self.registry)
        info.info({"version": __version__, "python": platform.python_version()})

    def _pipeline(self) -> None:
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
        self._submissions = {lane: submissions.labels(lane.label) for lane in Lane}
        self._outcomes = {
            (status.value, lane, repeated): outcomes.labels(
                status.value, lane.label, str(repeated).lower()
            )
            for status in Status
            for lane in Lane
            for repeated in (False, True)
        }
        self._wait = Histogram(
            "resolution_wait_seconds",
            "Time from the buyer's arrival to the final answer.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self._odd = self._counters(
            "resolution_oddities_total",
            "What was ignored in messages, and messages that the broker took out of a lane.",
            "member",
            _ODDITIES,
        )
        self._oldest = Gauge(
            "resolution_oldest_unsettled_seconds",
            "Age of the oldest submission in hand.",
            ["lane"],
            registry=self.registry,
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
        self._call_seconds = Histogram(
            "resolution_aws_call_duration_seconds",
            "Duration of calls to ResolveCustomer.",
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "resolution_in_flight", "Calls to AWS in flight.", registry=self.registry
        )

    def _gate(self) -> None:
        self._rate = Gauge(
            "resolution_rate_per_second",
            "Calls a second allowed for all replicas together (shared) and for this one (local).",
            ["scope"],
            registry=self.registry,
        )
        self._breaker = Gauge(
            "resolution_breaker_open",
            "1 while calls are stopped because of a systemic fault.",
            registry=self.registry,
        )
        self._refused_alone = Gauge(
            "resolution_refused_alone",
            "1 while AWS refuses this replica and accepts others: it takes no messages.",
            registry=self.registry,
        )
        self._skew = Gauge(
            "resolution_clock_skew_seconds",
            "Seconds by which this machine's clock is ahead of the database's.",
            registry=self.registry,
        )

    def _ledger(self) -> None:
        self._rows = Histogram(
            "resolution_write_batch_rows",
            "Rows in a committed batch.",
            buckets=_BATCH_ROWS,
            registry=self.registry,
        )
        self._write_seconds = Histogram(
            "resolution_write_duration_seconds",
            "Duration of a batch's transaction.",
            buckets=_WRITE_SECONDS,
            registry=self.registry,
        )
        self._refused_rows = self._counters(
            "resolution_rows_refused_total",
            "Rows that the database refused for their data, by what there is of them now.",
            "kept_as",
            KeptAs,
        )

    def _fleet(self) -> None:
        self._queues = Gauge(
            "resolution_queue_messages",
            "Messages waiting in a queue; the same on each replica.",
            ["queue"],
            registry=self.registry,
        )
        self.queues_lost = Gauge(
            "resolution_queues_lost",
            "Queues that went missing, not yet acknowledged; the same on each replica.",
            registry=self.registry,
        )
        letters = Gauge(
            "resolution_dead_letters",
            "Open dead letters; the same on each replica.",
            ["reason"],
            registry=self.registry,
        )
        self._letters = {reason.value: letters.labels(reason.value) for reason in LetterReason}
        self._redeemable = Gauge(
            "resolution_dead_letters_redeemable",
            "Open dead letters whose token may still be redeemed; the same on each replica.",
            registry=self.registry,
        )
        expiry = Gauge(
            "resolution_dead_letters_first_expiry_seconds",
            "Seconds until the first open dead letter expires; +Inf if none is redeemable.",
            ["reason"],
            registry=self.registry,
        )
        self._expiry = {reason.value: expiry.labels(reason.value) for reason in LetterReason}

    def _answers(self) -> None:
        self._dropped = self._counters(
            "resolution_answers_dropped_total",
            "Replies and events dropped because their queues did not accept them.",
            "kind",
            (Kind.REPLY, Kind.EVENT),
        )
        self.outbox_events = Gauge(
            "resolution_outbox_events",
            "Events waiting for an observer's queue to accept them; the same on each replica.",
            registry=self.registry,
        )

    def _counters(
        self, name: str, words: str, label: str, values: Iterable[str]
    ) -> dict[str, Counter]:
        """One counter for each value of a label."""
        family = Counter(name, words, [label], registry=self.registry)
        return {value: family.labels(value) for value in values}

    def _retention(self) -> None:
        words = "Rows shredded, archived or deleted by retention."
        self._retained = self._counters("resolution_retention_rows_total", words, "action", Chore)
        self._round = Gauge(
            "resolution_retention_last_round_timestamp_seconds",
            "When a round of retention last succeeded; before that, when the process started.",
            registry=self.registry,
        )
        self._round.set_to_current_time()

    def _state(self) -> None:
        self._ready = Gauge(
            "resolution_ready", "1 while this replica is able to work.", registry=self.registry
        )
        self._fault = Gauge(
            "resolution_fault",
            "1 while a fault of this part keeps the replica from working.",
            ["part"],
            registry=self.registry,
        )
        self.suspected = Gauge(
            "resolution_suspected_messages",
            "Messages in hand that may have crashed a process and are handled in small groups.",
            registry=self.registry,
        )
        tasks = Gauge("resolution_tasks", "asyncio tasks of this process.", registry=self.registry)
        tasks.set_function(_tasks)


def _tasks() -> float:
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:  # scraped without a running loop
        return 0.0
