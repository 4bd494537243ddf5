"""What becomes of answers that the broker refuses, mostly since a queue bound for them is full.

A reply is for one caller: it is tried for a few seconds, by its routing key, and then dropped, for
no one else may wait for that caller's queue. An event is for all observers, and must reach each:
it goes into the outbox, and from there to the broker once that takes it. Time is an argument, in
seconds of one clock; so is chance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from worker.core.backoff import equal_jitter

REPLY_SECONDS: Final = 5.0
"""How long replies to one key are tried, from the first of them that was refused."""

MOST_KEYS: Final = 10_000
MOST_WAITING: Final = 100
MOST_WAITING_OF_A_KEY: Final = 50
# A key that was not refused for so long may be another queue by now, and begins anew.
_FORGOTTEN_SECONDS: Final = 60.0
_FIRST_WAIT_SECONDS: Final = 0.1
_MOST_DOUBLINGS: Final = 6
_SILENT_SECONDS: Final = 10.0

MOST_EVENTS: Final = 16  # so many copies more one refusal costs other observers at the most
_ONE_BY_ONE: Final = 200
_MOST_AFTER_REFUSAL: Final = 8
_LONGEST_PROBE_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Refusing:
    since: float
    last: float
    silent_until: float | None = None


class RefusedReplies:
    """Which routing keys refuse replies, and whether a refused one is tried again.

    Keys are chosen by strangers, so no more than `MOST_KEYS` are remembered, the latest refused
    of them. Each reply that waits for its next try holds a delivery, so only a few wait at once:
    the rest is tried once, whatever is known about its key.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _Refusing] = {}  # the one refused longest ago is the first
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._keys)

    def confirmed(self, key: str) -> None:
        """A reply to this key was taken: whatever is refused next begins anew."""
        self._keys.pop(key, None)

    def worth_a_try(self, key: str, now: float) -> bool:
        """Whether to send a reply to this key at all.

        A queue that is silent keeps what is sent to it in the broker's hands, which stops a channel
        that has too much there: so it gets one each ten seconds.
        """
        refusing = self._keys.get(key)
        if refusing is None or refusing.silent_until is None:
            return True
        if now < refusing.silent_until:
            return False
        refusing.silent_until = now + _SILENT_SECONDS
        return True

    def silent(self, key: str, now: float) -> None:
        """A reply to this key was neither taken nor refused."""
        self._refusing(key, now).silent_until = now + _SILENT_SECONDS

    def refused(self, key: str, tries: int, now: float, draw: float) -> float | None:
        """A reply to this key was refused.

        Args:
            key: Its routing key.
            tries: How often this reply was tried, from 1.
            now: The time.
            draw: Uniform in [0, 1).

        Returns:
            Seconds until its next try, which is to be begun with `resumed`; None to drop it.
        """
        left = self._refusing(key, now).since + REPLY_SECONDS - now
        crowded = self._waiting.total() >= MOST_WAITING
        if left <= 0 or crowded or self._waiting[key] >= MOST_WAITING_OF_A_KEY:
            return None
        self._waiting[key] += 1
        bound = _FIRST_WAIT_SECONDS * 2.0 ** min(tries, _MOST_DOUBLINGS)
        return min(left, equal_jitter(bound, draw))

    def resumed(self, key: str) -> None:
        """A reply to this key waits no more: it is tried again, or given up."""
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key]

    def _refusing(self, key: str, now: float) -> _Refusing:
        """What is known of a key that refuses, the latest of them now."""
        refusing = self._keys.pop(key, None)
        if refusing is None or now - refusing.last > _FORGOTTEN_SECONDS:
            refusing = _Refusing(now, now)
        refusing.last = now
        self._keys[key] = refusing
        if len(self._keys) > MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        return refusing


@dataclass(slots=True)
class OutboxPace:
    """How the events of one routing key leave the outbox.

    One event is tried, then twice as many each time all are taken. At a refusal it is one again,
    after a wait that grows: nobody knows which of several queues has refused, and the others get
    another copy of what was refused. So it is remembered how many were taken the last time: beyond
    that number they go one by one for a while, and then a few at a time.

    Attributes:
        due: When to try next.
        size: How many events to try.
        refusals: In a row.
        taken: Events taken since the last refusal.
        room: How many were taken before that; None while it is not known.
    """

    due: float
    size: int = 1
    refusals: int = 0
    taken: int = 0
    room: int | None = None

    @classmethod
    def begin(cls, now: float) -> OutboxPace:
        """For a key that was refused just now."""
        pace = cls(due=now)
        pace.refused(now, 0)
        return pace

    def confirmed(self, now: float) -> None:
        """All that were tried were taken."""
        self.due, self.refusals = now, 0
        self.taken += self.size
        if self.room is None:
            self.size = min(2 * self.size, MOST_EVENTS)
        elif self.taken >= self.room + _ONE_BY_ONE:
            self.size = min(2 * self.size, _MOST_AFTER_REFUSAL)
        else:
            self.size = max(1, min(2 * self.size, _MOST_AFTER_REFUSAL, self.room - self.taken))

    def refused(self, now: float, taken: int) -> None:
        """Of those that were tried only so many were taken."""
        self.due = now + min(_LONGEST_PROBE_SECONDS, 2.0 ** min(self.refusals, _MOST_DOUBLINGS))
        self.room = self.taken + taken or self.room
        self.size, self.taken = 1, 0
        self.refusals += 1

    def failed(self, now: float) -> None:
        """Nobody knows what became of them: the connection was lost."""
        self.due, self.size = now + 1.0, 1
