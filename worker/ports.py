"""What the runtime needs of the outside, each Protocol as narrow as one caller's need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from worker.core.clock import Reading
    from worker.core.exceptions import BrokerUnavailable, NotConfirmed
    from worker.core.rate.fleet import Lease, ReplicaState, Report
    from worker.core.records import Answer, Batch, Fault, Lane, Outcome, Token, TokenKey
    from worker.core.token.incoming import Incoming
    from worker.core.token.outgoing import Kind, Outgoing
    from worker.core.token.refused_rows import KeptAs
    from worker.core.token.replies import Loss


class Ledger(Protocol):
    """The record of what became of each token."""

    async def find_outcomes(self, keys: Sequence[TokenKey]) -> Mapping[TokenKey, Outcome]:
        """What is settled of these tokens; those not settled are absent.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        ...

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit a batch and return what stands for each of its tokens afterwards.

        A resolved token is never overwritten, so what stands may differ from what was given.
        Idempotent: a batch whose fate is unknown may be given again.

        Raises:
            LedgerUnavailable: Nothing was written, or it is unknown whether this batch was.
            RowsRefused: Nothing was written; at least one row can never be.
        """
        ...


class Marketplace(Protocol):
    """AWS's ResolveCustomer."""

    async def resolve(self, token: Token) -> Answer | Fault:
        """Spend one call on a token. Never raises for what AWS or the network does."""
        ...

    def identity(self) -> str:
        """A short name of who calls, where to, as known last: asks nobody, so never waits.

        It changes with the credentials, and hides them.
        """
        ...

    async def check_identity(self) -> Fault | None:
        """Why our identity can't be had or is another than expected, or None. Spends no call.

        May take as long as what gives out the credentials: a minute at most.
        """
        ...

    async def probe(self) -> Fault | None:
        """Spend one call on no token at all, with credentials that are looked up anew.

        Returns:
            None if AWS accepts us.
        """
        ...

    def clock(self) -> Reading | None:
        """What AWS's clock said in its last answer, or None before any."""
        ...


class Fleet(Protocol):
    """What all replicas of one seller account share: the rate, their state, an operator's word.

    Every method raises `LedgerUnavailable` where the database can't be asked.
    """

    async def lease(self, report: Report, state: ReplicaState) -> Lease:
        """Report, and learn how to go on. To be called about each second.

        Args:
            report: What was seen since the last report that went through.
            state: What this replica tells the others of itself.
        """
        ...

    async def permit(self) -> float:
        """Take the fleet's next single permit: seconds until it may be used, 0 for now."""
        ...

    async def may_probe(self) -> bool:
        """Take the fleet's turn to ask AWS whether it accepts us again, if it is due."""
        ...

    async def leave(self) -> None:
        """Give the share back: this replica ends."""
        ...


PublishFailure: TypeAlias = "NotConfirmed | BrokerUnavailable"
"""Why a message is not confirmed: the broker did not take it, or there is no broker."""

PublishResult: TypeAlias = "PublishFailure | asyncio.Future[PublishFailure | None] | None"
"""None if the message is confirmed, or a future while nobody knows."""


class ConfirmedPublisher(Protocol):
    """Publishes with confirms."""

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[PublishResult]:
        """Publish a batch, and say what became of each message in turn.

        Waits, within a bound, for a broker that is away; and only a moment for confirmations, so
        that those that come late hold nobody else up.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutboxTurn:
    """What the one who has the outbox's turn is to send.

    Attributes:
        events: The oldest of a routing key, in their order, each with its number; none if nothing
            waits under that key.
        expired: How many were dropped for their age meanwhile.
    """

    events: tuple[tuple[int, Outgoing], ...]
    expired: int


class Outbox(Protocol):
    """Events that the broker has refused, kept for all replicas in the order in which they came.

    Every method raises `LedgerUnavailable` where the database can't be asked.
    """

    async def add(self, events: Sequence[Outgoing]) -> int:
        """Commit these, as far as there is room.

        Returns:
            How many of them, from the first on; there is no room for the rest.

        Raises:
            RowsRefused: None was written; at least one never can be.
        """
        ...

    async def take(self, key: str, most: int, done: Sequence[int]) -> OutboxTurn | None:
        """Take, or keep, the fleet's turn to send, and look at the oldest events of a key.

        A turn that is not kept up is free after a while, whatever became of the one who had it.

        Args:
            key: Their routing key.
            most: How many at most.
            done: Events that were sent, by number: they are removed, whoever has the turn.

        Returns:
            None while another replica has the turn.
        """
        ...

    async def count(self) -> int:
        """How many events wait."""
        ...


class Delivery(Protocol):
    """A message that the broker has delivered; until it is acked, the broker keeps it."""

    @property
    def incoming(self) -> Incoming:
        """What was delivered."""
        ...

    @property
    def lane(self) -> Lane | None:
        """The lane it came through; None for a message that the broker parked."""
        ...

    @property
    def arrived(self) -> float:
        """When it was delivered, on the event loop's clock, in seconds."""
        ...

    @property
    def alive(self) -> bool:
        """Whether an ack would still count; if not, the broker hands it out anew."""
        ...

    def shorten(self, sha256: bytes | None = None) -> None:
        """Keep no more of a body that is too large than is ever sealed; to be called once read.

        Args:
            sha256: Of the body, if that is known.
        """
        ...

    def ack(self) -> None:
        """Give up our claim, at once or with others soon. Does nothing if it is not alive."""
        ...


class Sealer(Protocol):
    """Seals what is given up to a public key."""

    @property
    def key_id(self) -> str:
        """Which key it is."""
        ...

    def seal(self, plaintext: bytes) -> bytes:
        """What only the holder of the private key can open."""
        ...


class Secrets(Protocol):
    """What must not be written anywhere."""

    def add(self, token: str) -> None:
        """Hide this token from every log."""
        ...

    def hide(self, text: str) -> str:
        """The text without them."""
        ...


class Telemetry(Protocol):
    """What the runtime tells the metrics."""

    def submission(self, lane: Lane) -> None:
        """A submission was settled or moved on."""
        ...

    def outcome(self, status: str, lane: Lane, *, repeated: bool) -> None:
        """A submission got its final answer."""
        ...

    def waited(self, lane: Lane, seconds: float, *, resolved: bool) -> None:
        """A buyer who came in through a lane has waited so long for the final answer.

        Args:
            lane: Through which the buyer came in.
            seconds: The wait.
            resolved: Whether a call has resolved the token for this very submission.
        """
        ...

    def lost(self, how: Loss) -> None:
        """A token failed through no fault of its own; no replay, and no repeat of another."""
        ...

    def call(self, result: str, seconds: float) -> None:
        """A call to AWS ended."""
        ...

    def retry(self, reason: str) -> None:
        """A call will be made again."""
        ...

    def written(self, rows: int, seconds: float) -> None:
        """A batch was committed."""
        ...

    def odd(self, what: str) -> None:
        """Something in a message was passed over, and the message handled all the same."""
        ...

    def refused(self, kind: Kind) -> None:
        """A queue has refused a reply or an event, for the first time or not."""
        ...

    def dropped(self, kind: Kind, answers: int) -> None:
        """So many replies or events were given up for good."""
        ...

    def row_refused(self, kept_as: KeptAs) -> None:
        """The database refused a row for its data; this is what there is of it now."""
        ...
