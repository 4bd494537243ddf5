"""The messages of a run: their tokens, order and lanes. Chance is an argument."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worker.lab.demo.kinds import KINDS, Answer, Kind, counts

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from datetime import datetime

LIVE: Final = "live"
BACKLOG: Final = "backlog"

_LIVE_SHARE: Final = 0.7
_COPIED_SHARE: Final = 0.04
_OF_EACH_MISTAKE: Final = 3
_LICENCES_OF_A_CUSTOMER: Final = 10
_REPLY_TO_EVERY: Final = 25
_EARLY: Final = 0.3  # those that linger are sent within the first such part


@dataclass(frozen=True, slots=True)
class Mistake:
    """One way in which a publisher makes a submission that no worker can read.

    Attributes:
        code: The error code that answers it.
        members: The submission's wrong members; `{token}` is replaced by the token.
    """

    code: str
    members: Mapping[str, Any]


MISTAKES: Final = (
    Mistake("TokenEmpty", {"registration_token": ""}),
    Mistake("TokenHasWhiteSpace", {"registration_token": "{token} {token}"}),
    Mistake("TokenPercentEncoded", {"registration_token": "{token}%2B"}),
    Mistake("SellerUnknown", {"seller": "nobody"}),
    Mistake("VersionUnsupported", {"version": 9}),
    Mistake("MetadataNotObject", {"metadata": "text"}),
    Mistake("MetadataContainsToken", {"metadata": {"cookie": "x-{token}"}}),
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        message_id: Its id, no other's.
        token: Its token; a copy has that of another message.
        kind: The kind of its token.
        lane: `live` or `backlog`.
        customer: Whose token it is, where several are one customer's.
        is_copy: Whether its token is submitted a second time.
        reply_to: Where the reply goes, if one is asked for.
        mistake: Why it can't be read; None for one that can.
    """

    message_id: str
    token: str = field(repr=False)
    kind: Kind
    lane: str
    customer: str | None = None
    is_copy: bool = False
    reply_to: str | None = None
    mistake: Mistake | None = None

    @property
    def sha256(self) -> bytes:
        """The token's hash, by which the database knows it."""
        return hashlib.sha256(self.token.encode()).digest()

    @property
    def label(self) -> str:
        """The kind that the account names."""
        return "malformed" if self.mistake else self.kind.name

    @property
    def answer(self) -> Answer:
        """What its event and its reply must say."""
        return Answer("malformed", self.mistake.code) if self.mistake else self.kind.demand.answer

    @property
    def correlation_id(self) -> str:
        """What its reply must carry."""
        return f"for-{self.message_id}"

    def line(self, now: datetime) -> bytes:
        """The line that `resolution-worker publish` reads for it.

        Args:
            now: When the buyer's browser delivers it, unless its kind is older than that.
        """
        members = {
            "version": 1,
            "registration_token": self.token,
            "received_at": now - self.kind.age,
            "message_id": self.message_id,
            "correlation_id": self.correlation_id,
            "reply_to": self.reply_to,
            "metadata": {"kind": self.kind.name},
        }
        if self.mistake:
            members |= _filled(self.mistake.members, self.token)
        return msgspec.json.encode(members) + b"\n"


def _filled(value: Any, token: str) -> Any:
    if isinstance(value, str):
        return value.replace("{token}", token)
    if isinstance(value, dict):
        return {name: _filled(inner, token) for name, inner in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is published.

    Attributes:
        run: Every message id and reply of this run begins with it, and no other's.
        live: Published at a steady pace, as buyers come.
        backlog: Published at once.
    """

    run: str
    live: Sequence[Message]
    backlog: Sequence[Message]

    @property
    def messages(self) -> list[Message]:
        """All messages."""
        return [*self.live, *self.backlog]

    @property
    def submissions(self) -> list[Message]:
        """All that can be read."""
        return [one for one in self.messages if not one.mistake]

    @property
    def originals(self) -> list[Message]:
        """Of those, one for each different token."""
        return [one for one in self.submissions if not one.is_copy]

    @property
    def unreadable(self) -> list[Message]:
        """All that can't be read."""
        return [one for one in self.messages if one.mistake]

    @property
    def reply_to(self) -> str:
        """Where replies go."""
        return reply_to(self.run)


def reply_to(run: str) -> str:
    """The routing key of a run's replies."""
    return f"resolution.reply.{run}"


def make_plan(run: str, tokens: int, chance: random.Random) -> Plan:
    """Lay out a run.

    Args:
        run: A name that no other run has; part of every token and message id.
        tokens: How many different tokens.
        chance: Decides about order, lanes and copies.
    """
    maker = _Maker(run, chance)
    originals = [
        maker.original(kind, n) for kind, count in counts(tokens).items() for n in range(count)
    ]
    copied = [one for one in originals if one.kind.may_be_sent_twice]
    copies = [maker.copy(chance.choice(copied)) for _ in range(round(tokens * _COPIED_SHARE))]
    unreadable = [maker.unreadable(each) for each in MISTAKES for _ in range(_OF_EACH_MISTAKE)]
    messages = [*originals, *copies, *unreadable]
    # What lingers comes early, so that nobody waits for it at the end.
    messages.sort(key=lambda one: chance.random() * (_EARLY if one.kind.lingers else 1.0))
    return Plan(
        run,
        live=[one for one in messages if one.lane == LIVE],
        backlog=[one for one in messages if one.lane == BACKLOG],
    )


class _Maker:
    """Makes the messages of a run, each with an id of its own."""

    def __init__(self, run: str, chance: random.Random) -> None:
        self._run = run
        self._chance = chance
        self._numbers = itertools.count(1)

    def original(self, kind: Kind, nth: int) -> Message:
        """The first message of a token, the nth of its kind."""
        customer = f"buyer{nth // _LICENCES_OF_A_CUSTOMER}{self._run.replace('-', '')}"
        token = kind.pattern.format(customer=customer, unique=self._unique())
        lane = LIVE if self._chance.random() < _LIVE_SHARE else BACKLOG
        number = next(self._numbers)
        replied = lane == LIVE and number % _REPLY_TO_EVERY == 0
        return Message(
            self._id(number),
            token,
            kind,
            lane,
            customer=customer if kind.has_customer else None,
            reply_to=reply_to(self._run) if replied else None,
        )

    def copy(self, original: Message) -> Message:
        """Another message with the same token."""
        return replace(original, message_id=self._id(next(self._numbers)), is_copy=True)

    def unreadable(self, mistake: Mistake) -> Message:
        """A message that no worker can read."""
        message_id = self._id(next(self._numbers))
        return Message(message_id, f"ok-{self._unique()}", KINDS[0], LIVE, mistake=mistake)

    def _unique(self) -> str:
        return f"{self._run}{self._chance.getrandbits(128):032x}"

    def _id(self, number: int) -> str:
        return f"{self._run}-{number:06}"
