"""What to do next about a submission that somebody waits for: a decision, made of what is known.

It is published; published again in each later life of the connection, because the reply queue went
with the one before; and once more a moment before the deadline, because a reply may have been lost
all the same. The worker knows a `message_id` again and answers from its ledger, without a call.

Times are the event loop's, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEDGER_SECONDS: Final = 0.1
"""Workers that make no calls still answer what is settled already, and workers that can't say what
they do answer all: so long they are waited for."""
_AGAIN_SHARE: Final = 0.1
_AGAIN_MOST_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish it, in this life of the connection."""

    life: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for an answer or for news, but no longer than until then."""

    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The time is over, or nobody calls AWS; `published` if a broker has confirmed it."""

    published: bool


@dataclass(slots=True)
class Progress:
    """How far a submission is.

    Attributes:
        deadline: When its caller wants to know.
        again_at: When it is published once more.
        life: The life of the connection in which it was confirmed last; 0 before.
        confirmed_at: When.
        not_before: No attempt to publish is made earlier: the last one was refused.
    """

    deadline: float
    again_at: float
    life: int = 0
    confirmed_at: float = 0.0
    not_before: float = 0.0

    @classmethod
    def begin(cls, now: float, wait: float) -> Progress:
        """Nothing was done yet, and the caller waits for so many seconds."""
        margin = min(_AGAIN_MOST_SECONDS, wait * _AGAIN_SHARE)
        return cls(now + wait, now + wait - margin)

    @property
    def published(self) -> bool:
        """Whether a broker has confirmed it."""
        return self.life > 0

    def confirmed(self, life: int, now: float) -> None:
        """A broker has confirmed it in this life of the connection."""
        if now >= self.again_at:
            self.again_at = self.deadline
        self.life, self.confirmed_at = life, now

    def next(self, now: float, life: int, idle_from: float | None, silence_at: float) -> Step:
        """What to do.

        Args:
            now: The time.
            life: The present life of the connection; 0 where there is none.
            idle_from: From when on it is certain that AWS is not called; None if it is.
            silence_at: When the workers will be taken to be gone, if nothing is heard.
        """
        if now >= self.deadline:
            return GiveUp(self.published)
        heard = silence_at > now
        until = min(self.deadline, silence_at) if heard else self.deadline
        if self.published and idle_from is not None:
            give_up_at = max(idle_from, self.confirmed_at + LEDGER_SECONDS)
            if now >= give_up_at:
                return GiveUp(published=True)
            until = min(until, give_up_at)
        if life and (life != self.life or self.again_at <= now):
            if now >= self.not_before:
                return Publish(life)
            return Wait(min(until, self.not_before))
        return Wait(min(until, self.again_at) if life == self.life and life else until)


Step = Publish | Wait | GiveUp
