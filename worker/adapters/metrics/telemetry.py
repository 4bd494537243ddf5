"""What the worker counts and measures, for Prometheus."""

from __future__ import annotations

from collections import Counter as Counts
from functools import partial
from typing import TYPE_CHECKING

from worker.adapters.metrics.families import PARTS, Families
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.dead_letters.retention import Chore
    from worker.core.token.outgoing import Kind
    from worker.core.token.refused_rows import KeptAs


class Metrics(Families):
    """All metrics of a worker, in a registry of their own; see `worker.ports.Telemetry`.

    Attributes:
        registry: What `/metrics` serves.
        settled: Final answers by status so far, for the summary in the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.settled: Counts[str] = Counts()
        self.set_first_expiries({})

    # --- called by the runtime ---

    def submission(self, lane: Lane) -> None:
        """A submission was settled or moved on."""
        self._submissions[lane].inc()

    def outcome(self, status: str, lane: Lane, *, repeated: bool, waited: float) -> None:
        """A submission got its final answer, `waited` seconds after the buyer's arrival."""
        self._outcomes[status, lane, repeated].inc()
        self.settled[status] += 1
        self._wait.observe(max(0.0, waited))

    def call(self, result: str, seconds: float) -> None:
        """A call to AWS ended."""
        self._results[result].inc()
        self._call_seconds.observe(seconds)

    def retry(self, reason: str) -> None:
        """A call will be retried."""
        self._retries[reason].inc()

    def written(self, rows: int, seconds: float) -> None:
        """A batch was committed."""
        self._rows.observe(rows)
        self._write_seconds.observe(seconds)

    def odd(self, what: str) -> None:
        """An invalid member of a message was ignored."""
        self._odd[what].inc()

    def dropped(self, kind: Kind, answers: int) -> None:
        """Replies or events were dropped for good."""
        self._dropped[kind].inc(answers)

    def row_refused(self, kept_as: KeptAs) -> None:
        """The database refused a row for its data."""
        self._refused_rows[kept_as].inc()

    def retained(self, chore: Chore, rows: int) -> None:
        """Retention has processed rows."""
        self._retained[chore].inc(rows)

    def round_ended(self) -> None:
        """A round of retention succeeded."""
        self._round.set_to_current_time()

    # --- read at each scrape, or set from time to time ---

    def watch(
        self,
        *,
        oldest: Callable[[Lane], float],
        breaker_open: Callable[[], bool],
        refused_alone: Callable[[], bool],
        skew_seconds: Callable[[], float],
        rates: Mapping[str, Callable[[], float]],
        faults: Callable[[], Mapping[str, str]],
    ) -> None:
        """Read these at each scrape; `rates` by scope, `shared` and `local`."""
        for scope, rate in rates.items():
            self._rate.labels(scope).set_function(rate)
        self._ready.set_function(lambda: float(not faults()))
        for part in PARTS:
            self._fault.labels(part).set_function(partial(_is_in, part, faults))
        for lane in Lane:
            self._oldest.labels(lane.label).set_function(partial(oldest, lane))
        self._breaker.set_function(lambda: float(breaker_open()))
        self._refused_alone.set_function(lambda: float(refused_alone()))
        self._skew.set_function(skew_seconds)

    def set_queues(self, ready: Mapping[str, int]) -> None:
        """Messages waiting, by queue."""
        for queue, messages in ready.items():
            self._queues.labels(queue).set(messages)

    def set_letters(self, counts: Mapping[str, int], redeemable: int) -> None:
        """Open dead letters by reason, and how many may still be redeemed."""
        for reason, letters in counts.items():
            self._letters[reason].set(letters)
        self._redeemable.set(redeemable)

    def set_first_expiries(self, seconds: Mapping[str, float]) -> None:
        """Seconds until the first open dead letter of each reason expires.

        A reason without a redeemable letter is absent.
        """
        for reason, gauge in self._expiry.items():
            gauge.set(max(0.0, seconds.get(reason, float("inf"))))


def _is_in(part: str, faults: Callable[[], Mapping[str, str]]) -> float:
    return float(part in faults())
