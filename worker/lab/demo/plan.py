"""What is submitted, in which order and through which lane. Chance is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.lab.demo.kinds import Kind, counts
from worker.lab.demo.malformed import BLUNDERS, Blunder
from worker.lab.demo.submissions import Spoilt, Submission

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

LIVE: Final = "live"
BACKLOG: Final = "backlog"

_LIVE_SHARE: Final = 0.7
_COPIED_SHARE: Final = 0.04
_EACH_BLUNDER: Final = 3
_LICENCES_OF_A_CUSTOMER: Final = 10
_REPLY_TO_EVERY: Final = 25
_EARLY: Final = 0.3  # those that linger are sent within the first such part


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is submitted.

    Attributes:
        run: What tells this run from all others; every message id begins with it.
        live: Sent at a steady pace, as buyers come.
        backlog: Sent at once.
        raw: Unreadable bodies, which no command would send.
    """

    run: str
    live: Sequence[Submission | Spoilt]
    backlog: Sequence[Submission]
    raw: Sequence[Spoilt]

    @property
    def submissions(self) -> list[Submission]:
        """All that can be read."""
        both = (*self.live, *self.backlog)
        return [message for message in both if isinstance(message, Submission)]

    @property
    def originals(self) -> list[Submission]:
        """Of those, one for each different token."""
        return [one for one in self.submissions if not one.is_copy]

    @property
    def spoilt(self) -> list[Spoilt]:
        """All that can't be read."""
        return [*(one for one in self.live if isinstance(one, Spoilt)), *self.raw]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return len(self.live) + len(self.backlog) + len(self.raw)

    @property
    def reply_to(self) -> str:
        """Where replies go."""
        return reply_to(self.run)


def reply_to(run: str) -> str:
    """The routing key of a run's replies."""
    return f"resolution.reply.{run}"


def plan(run: str, tokens: int, chance: random.Random) -> Plan:
    """Lay out a run.

    Args:
        run: A name that no other run has; part of every token and message id.
        tokens: How many different tokens.
        chance: Decides over order, lanes and copies.
    """
    maker = _Maker(run, chance)
    originals = [
        maker.original(kind, n) for kind, count in counts(tokens).items() for n in range(count)
    ]
    copied = [one for one in originals if one.kind.may_be_sent_twice]
    copies = [maker.copy(chance.choice(copied)) for _ in range(round(tokens * _COPIED_SHARE))]
    spoilt = [maker.spoilt(blunder) for blunder in BLUNDERS for _ in range(_EACH_BLUNDER)]
    submissions = [*originals, *copies]
    live = [one for one in submissions if one.lane == LIVE]
    return Plan(
        run,
        live=_in_order([*live, *(one for one in spoilt if one.blunder.body is None)], chance),
        backlog=_in_order([one for one in submissions if one.lane == BACKLOG], chance),
        raw=[one for one in spoilt if one.blunder.body is not None],
    )


class _Maker:
    """Makes messages, each with an id of its own."""

    def __init__(self, run: str, chance: random.Random) -> None:
        self._run = run
        self._chance = chance
        self._made = 0

    def original(self, kind: Kind, number: int) -> Submission:
        customer = f"buyer{number // _LICENCES_OF_A_CUSTOMER}{self._run.replace('-', '')}"
        token = kind.pattern.format(customer=customer, unique=self._unique())
        return self._submission(kind, token, customer if kind.has_customer else None)

    def copy(self, of: Submission) -> Submission:
        return self._submission(of.kind, of.token, of.customer, is_copy=True)

    def spoilt(self, blunder: Blunder) -> Spoilt:
        return Spoilt(self._id(), f"ok-{self._unique()}", blunder)

    def _submission(
        self, kind: Kind, token: str, customer: str | None, *, is_copy: bool = False
    ) -> Submission:
        live = self._chance.random() < _LIVE_SHARE
        message_id = self._id()
        wants_reply = live and self._made % _REPLY_TO_EVERY == 0
        return Submission(
            message_id,
            token,
            kind,
            customer,
            LIVE if live else BACKLOG,
            is_copy,
            reply_to(self._run) if wants_reply else None,
        )

    def _id(self) -> str:
        self._made += 1
        return f"{self._run}-{self._made:06}"

    def _unique(self) -> str:
        return f"{self._run}{self._chance.getrandbits(128):032x}"


_Message = Submission | Spoilt


def _in_order(messages: list[Any], chance: random.Random) -> list[Any]:
    """A random order, in which what lingers comes early: so nobody waits for it at the end."""

    def place(message: _Message) -> float:
        lingers = isinstance(message, Submission) and message.kind.lingers
        return chance.random() * (_EARLY if lingers else 1.0)

    return sorted(messages, key=place)
