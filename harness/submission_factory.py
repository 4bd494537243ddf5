"""Submissions of all kinds, by chance and yet the same for the same seed."""

from __future__ import annotations

import json
import random
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.history import MALFORMED, Due, Submission, due

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REQUESTERS = ("a", "b")

# Weights by kind; what a number in a name is for, the simulator says.
_KINDS = {
    "ok-{n}": 40,
    "same-{customer}-{n}": 10,
    "new-{n}": 10,
    "old-{n}": 6,
    "slow-150-{n}": 6,
    "throttle-1-{n}": 4,
    "fail-1-{n}": 6,
    "invalid-{n}": 8,
    "expired-{n}": 6,
    "unknown-{n}": 2,
}
_COPIES = 0.1
_CLOCK_OFF = 0.03
_UNREADABLE = 0.03
_HOURS_OFF = 5


@dataclass(frozen=True, slots=True)
class Requester:
    """Somebody who wants replies: a name and a routing key."""

    name: str
    key: str


class SubmissionFactory:
    """Makes submissions.

    Args:
        seed: The same seed makes the same submissions, but for the salt and the clock.

    Attributes:
        chance: Draws that belong to this seed.
        salt: Part of every token, and of nothing else.
        requesters: Who may ask for replies.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.salt = f"canary{secrets.token_hex(6)}"
        self._run = secrets.token_hex(4)
        self._count = 0
        self.requesters = {
            name: Requester(name, f"resolution.reply.{name}-{self._run}") for name in REQUESTERS
        }

    def some(self, count: int) -> list[Submission]:
        """So many of all kinds, with copies and with messages that can't be read."""
        made = list(self._some(count))
        self.chance.shuffle(made)
        return made

    def of(self, word: str, count: int = 1, **changes: Any) -> list[Submission]:
        """So many of one kind, each with its own token."""
        return [self.one(self._token(word), **changes) for _ in range(count)]

    def one(
        self,
        token: str,
        *,
        members: Mapping[str, object] | None = None,
        body: bytes | None = None,
        **changes: Any,
    ) -> Submission:
        """The submission of a token; changes are fields of `Submission`."""
        self._count += 1
        chance = self.chance
        requester = self.requesters[chance.choice(REQUESTERS)]
        number = f"{self._run}-{self._count}"
        metadata = {"of": number} if chance.random() < 0.5 else None
        written = {"version": 1, "registration_token": token, **(members or {})}
        if metadata is not None:
            written["metadata"] = metadata
        made = Submission(
            message_id=f"m-{number}",
            token=token,
            body=body if body is not None else json.dumps(written).encode(),
            due=(),
            lane=chance.choice(("live", "live", "backlog")),
            reply_to=requester.key if chance.random() < 0.5 else None,
            correlation_id=f"c-{number}" if chance.random() < 0.7 else None,
            metadata=metadata,
        )
        made = replace(made, **changes)
        return made if made.due else replace(made, due=(due(token),))

    def unreadable(self, body: bytes, *, token: str | None = None, **changes: Any) -> Submission:
        """A message that can't be read."""
        changes.setdefault("due", (Due(MALFORMED),))
        made = self.one("ok-none", body=body, metadata=None, **changes)
        return replace(made, token=token, metadata=None)

    def _some(self, count: int) -> Iterator[Submission]:
        words, weights = list(_KINDS), list(_KINDS.values())
        for word in self.chance.choices(words, weights, k=count):
            luck = self.chance.random()
            if luck < _UNREADABLE:
                yield self.unreadable(b'{"unread": "%d"' % self.chance.getrandbits(64))
            elif luck < _UNREADABLE + _CLOCK_OFF:
                yield self.by_another_clock()
            else:
                yield from self._and_copies(self._token(word))

    def _and_copies(self, token: str) -> Iterator[Submission]:
        yield self.one(token)
        if self.chance.random() < _COPIES:
            yield self.one(token)

    def by_another_clock(self) -> Submission:
        """One of a web tier whose clock is hours behind, which settles nothing."""
        said = datetime.fromtimestamp(time.time() - _HOURS_OFF * 3600, UTC)
        return self.one(self._token("ok-{n}"), members={"received_at": said.isoformat()})

    def _token(self, word: str) -> str:
        self._count += 1
        customer = 100_000_000_000 + self.chance.randrange(20)
        return word.format(n=f"{self._count}-{self.salt}", customer=customer)


def parts(some: Sequence[Submission], *sizes: int) -> Iterator[list[Submission]]:
    """Slices of these sizes, and then the rest."""
    start = 0
    for size in sizes:
        yield list(some[start : start + size])
        start += size
    yield list(some[start:])
