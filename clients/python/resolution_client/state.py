"""What the workers say of themselves each second, and what follows from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from resolution_client.answers import VERSION, Pending, Unreadable

if TYPE_CHECKING:
    from resolution_client.submission import Submission

SILENCE_SECONDS: Final = 3.0
"""So long without a word from any worker means that nobody works."""

STOPPED_SECONDS: Final = 1.0
"""So long must calls be stopped before callers are told: a probe may show at once that they can go
on, and a worker that restarts is back."""

Calls: TypeAlias = Literal["running", "paused", "stopped"]
_MOST_REPLICAS: Final = 1000


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What workers say, of one or of all together.

    Attributes:
        calls: Whether AWS is called; `running` if any worker says so.
        reason: Why not, in the worker's words.
        rate: Calls a second that all workers together may make; None where nobody spoke.
        waiting: How many tokens wait at least; likewise.
        oldest_seconds: The age of the oldest that a worker has taken; likewise.
    """

    calls: Calls
    reason: str | None = None
    rate: float | None = None
    waiting: int | None = None
    oldest_seconds: float | None = None


NOBODY: Final = WorkerState("stopped", "no worker is running")


def read(body: bytes) -> WorkerState:
    """Read what one worker says.

    Raises:
        Unreadable: It is of another version, or no such message.
    """
    try:
        said = json.loads(body)
        if said["version"] == VERSION and said["calls"] in ("running", "paused", "stopped"):
            reason = None if said["reason"] is None else str(said["reason"])
            numbers = (float(said["rate"]), int(said["waiting"]), float(said["oldest_seconds"]))
            return WorkerState(said["calls"], reason, *numbers)
    except (ValueError, KeyError, TypeError):
        pass
    raise Unreadable("no state of a worker")


def pending(prepared: Submission, told: WorkerState | None) -> Pending:
    """What is said of a submission that nobody has answered yet."""
    said = told or WorkerState("running")
    return Pending(
        message_id=prepared.message_id,
        token_sha256=prepared.token_sha256,
        reason="waiting" if said.calls == "running" else said.calls,
        detail=said.reason,
        rate=said.rate,
        waiting=said.waiting,
        oldest_seconds=said.oldest_seconds,
    )


class Watch:
    """Listens to all workers. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, WorkerState]] = {}
        self._listening_since: float | None = None
        self._stopped_since: float | None = None

    def listen(self, now: float) -> None:
        """Nothing could be heard before."""
        self._listening_since = now
        self._forget()

    def deaf(self) -> None:
        """Nothing can be heard from now on, so silence means nothing."""
        self._listening_since = None
        self._forget()

    def _forget(self) -> None:
        self._said.clear()
        self._stopped_since = None

    def sign_of_life(self, now: float) -> None:
        """Some worker has answered, whatever it says of itself, or if it can't."""
        if self._listening_since is not None:
            self._listening_since = now

    def heard(self, replica: str, state: WorkerState, now: float) -> None:
        """A worker has spoken."""
        self._said.pop(replica, None)
        self._said[replica] = now, state
        if len(self._said) > _MOST_REPLICAS:
            del self._said[next(iter(self._said))]
        together = self.state(now)
        if together is None or together.calls != "stopped":
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now

    def idle_from(self, now: float) -> float | None:
        """From when on it is certain that AWS is not called, perhaps soon; None if it is called."""
        state = self.state(now)
        if state is None or state.calls == "running":
            return None
        if self._stopped_since is None or state is NOBODY:
            return now
        return self._stopped_since + STOPPED_SECONDS

    def state(self, now: float) -> WorkerState | None:
        """What all workers say together; None while there was no time to hear of any."""
        fresh = [state for at, state in self._said.values() if now - at < SILENCE_SECONDS]
        if not fresh:
            return NOBODY if self.silence_at() is not None and not self._in_time(now) else None
        order = ("running", "paused", "stopped")
        best = min(fresh, key=lambda state: order.index(state.calls))
        return WorkerState(
            best.calls,
            best.reason,
            max(state.rate or 0.0 for state in fresh),
            max(state.waiting or 0 for state in fresh),
            max(state.oldest_seconds or 0.0 for state in fresh),
        )

    def silence_at(self) -> float | None:
        """When nobody will be taken to work, unless somebody speaks until then."""
        if self._listening_since is None:
            return None
        heard = (at for at, _ in self._said.values())
        return max((self._listening_since, *heard)) + SILENCE_SECONDS

    def _in_time(self, now: float) -> bool:
        silent = self.silence_at()
        return silent is not None and now < silent
