"""What the worker counts and measures, for Prometheus."""

from __future__ import annotations

from collections import Counter as Counts
from typing import TYPE_CHECKING

from worker.adapters.metrics.families import Families

if TYPE_CHECKING:
    from worker.core.dead_letters.retention import Chore
    from worker.core.records import Lane
    from worker.core.token.outgoing import Kind
    from worker.core.token.refused_rows import KeptAs
    from worker.core.token.replies import Loss


class Metrics(Families):
    """All metrics of a worker, in a registry of their own; see `worker.ports.Telemetry`.

    Attributes:
        registry: What `/metrics` serves.
        settled: Final answers by status so far, for the summary in the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.settled: Counts[str] = Counts()

    def submission(self, lane: Lane) -> None:
        """A submission was settled or moved on."""
        self._submissions[lane].inc()

    def outcome(self, status: str, lane: Lane, *, repeated: bool) -> None:
        """A submission got its final answer."""
        self._outcomes[status, lane, repeated].inc()
        self.settled[status] += 1

    def waited(self, lane: Lane, seconds: float, *, resolved: bool) -> None:
        """A buyer who came in through a lane has waited so long for the final answer."""
        seconds = max(0.0, seconds)
        self._waits[lane].observe(seconds)
        if resolved:
            self._resolved_waits[lane].observe(seconds)

    def lost(self, how: Loss) -> None:
        """A token failed through no fault of its own."""
        self._lost[how].inc()

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

    def refused(self, kind: Kind) -> None:
        """A queue has refused a reply or an event, for the first time or not."""
        self._refused[kind].inc()

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

    def lag(self, seconds: float) -> None:
        """The event loop came so late to a task that was due."""
        self._lag.observe(seconds)
