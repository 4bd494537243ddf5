"""An in-memory ledger that keeps the promises of the real one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from worker.core.exceptions import LedgerUnavailable, RowsRefused
from worker.core.records import LetterReason, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.core.records import Batch, DeadLetter, Malformed, Outcome, TokenKey


class Customer(NamedTuple):
    """A customer as tokens told of it."""

    seller: str
    customer_aws_account_id: str | None
    customer_identifier: str | None
    first_resolved_at: datetime
    last_resolved_at: datetime


class Agreement(NamedTuple):
    """A row of the view `resolution.agreements`."""

    seller: str
    customer_aws_account_id: str | None
    customer_identifier: str | None
    product_code: str
    license_arn: str | None
    agreement_id: str | None
    offer_type: str | None
    first_resolved_at: datetime
    last_resolved_at: datetime


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter with what the ledger itself keeps about it."""

    letter: DeadLetter
    state: str
    occurrences: int
    first_failed_at: datetime


class FakeLedger:
    """A `Ledger` in memory.

    Attributes:
        outage: While set, every call raises it as `LedgerUnavailable`.
        is_poison: A batch with an outcome it says yes to is refused as a whole.
        refuses_letter: So is one with a dead letter it says yes to.
        refuses_malformed: Whether so is a batch with a malformed message.
        batches: What was committed, in order.
    """

    def __init__(self) -> None:
        self.outage: str | None = None
        self.is_poison: Callable[[Outcome], bool] = _names_nobody
        self.refuses_letter: Callable[[DeadLetter], bool] = lambda _: False
        self.refuses_malformed = False
        self.batches: list[Batch] = []
        self.outcomes: dict[TokenKey, Outcome] = {}
        self.customers: dict[tuple[str, str], Customer] = {}
        self.agreements: dict[tuple[str, ...], Agreement] = {}
        self.letters: dict[tuple[bytes, str], KeptLetter] = {}
        self.malformed: dict[tuple[bytes, str], Malformed] = {}

    async def find_outcomes(self, keys: Sequence[TokenKey]) -> Mapping[TokenKey, Outcome]:
        """What stands of these tokens."""
        self._require_service()
        return {key: self.outcomes[key] for key in keys if key in self.outcomes}

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Take a batch as a whole, or refuse it as a whole."""
        self._require_service()
        poisoned = self.refuses_malformed and bool(batch.malformed)
        poisoned |= any(map(self.refuses_letter, batch.letters))
        if poisoned or any(self.is_poison(outcome) for outcome in batch.outcomes):
            raise RowsRefused("the batch has a row that can never be written")
        self.batches.append(batch)
        for outcome in batch.outcomes:
            self._settle(outcome, books=batch.books)
        if batch.closing:
            self._close_letters(batch)
        for letter in sorted(batch.letters, key=lambda each: each.failed_at):
            self._keep(letter)
        for letter in batch.letters:
            self._reopen_others(letter)
        for message in batch.malformed:
            self.malformed.setdefault((message.body_sha256, message.message_id), message)
        return {outcome.key: self.outcomes[outcome.key] for outcome in batch.outcomes}

    async def check(self) -> None:
        """Whether a worker could work here."""
        self._require_service()

    async def dead_letter_counts(self) -> Mapping[str, int]:
        """Open letters by reason."""
        self._require_service()
        counts = {reason.value: 0 for reason in LetterReason}
        for kept in self.letters.values():
            counts[kept.letter.reason.value] += kept.state == "open"
        return counts

    async def redeemable(self) -> int:
        """Open letters whose token still lives."""
        self._require_service()
        now = datetime.now(UTC)
        return sum(
            kept.state == "open" and (kept.letter.redeemable_until or now) > now
            for kept in self.letters.values()
        )

    async def close(self) -> None:
        """Nothing is open."""

    def _require_service(self) -> None:
        if self.outage is not None:
            raise LedgerUnavailable(self.outage)

    def _settle(self, given: Outcome, *, books: bool) -> None:
        stood = self.outcomes.get(given.key)
        self.outcomes[given.key] = given if stood is None else _winner(stood, given)
        if given.status is Status.RESOLVED and books:
            self._remember_customer(given)
            self._remember_agreement(given)

    def _remember_customer(self, given: Outcome) -> None:
        key = (given.key.seller, given.customer_aws_account_id or given.customer_identifier or "")
        known = self.customers.get(key) or _customer(given)
        self.customers[key] = known._replace(
            customer_aws_account_id=given.customer_aws_account_id or known.customer_aws_account_id,
            customer_identifier=given.customer_identifier or known.customer_identifier,
            first_resolved_at=min(known.first_resolved_at, given.settled_at),
            last_resolved_at=max(known.last_resolved_at, given.settled_at),
        )

    def _remember_agreement(self, given: Outcome) -> None:
        key = _identity(given)
        known = self.agreements.get(key) or _agreement(given)
        self.agreements[key] = known._replace(
            customer_aws_account_id=given.customer_aws_account_id or known.customer_aws_account_id,
            customer_identifier=given.customer_identifier or known.customer_identifier,
            product_code=given.product_code or known.product_code,
            agreement_id=given.agreement_id or known.agreement_id,
            offer_type=known.offer_type or given.offer_type,
            first_resolved_at=min(known.first_resolved_at, given.settled_at),
            last_resolved_at=max(known.last_resolved_at, given.settled_at),
        )

    def _close_letters(self, batch: Batch) -> None:
        keys = {outcome.key for outcome in batch.outcomes}
        for name, kept in self.letters.items():
            token = (kept.letter.seller, kept.letter.token_sha256)
            if token in keys and self._is_resolved(kept.letter) and _is_pending(kept):
                self.letters[name] = replace(kept, state="resolved")

    def _keep(self, given: DeadLetter) -> None:
        name = (given.body_sha256, given.message_id)
        kept = self.letters.get(name)
        if self._is_resolved(given):
            return
        if kept is None:
            self.letters[name] = KeptLetter(given, "open", 1, given.failed_at)
        elif given.failed_at > kept.letter.failed_at:
            self.letters[name] = _died_again(kept, given)

    def _reopen_others(self, given: DeadLetter) -> None:
        """Letters of other submissions of a token that failed, if they are being replayed."""
        for name, kept in self.letters.items():
            same = (kept.letter.seller, kept.letter.token_sha256) == (
                given.seller,
                given.token_sha256,
            )
            stale = kept.state == "replaying" and kept.letter.failed_at < given.failed_at
            if same and given.token_sha256 and stale and not self._is_resolved(given):
                told = replace(
                    kept.letter,
                    reason=given.reason,
                    error_code=given.error_code,
                    error_message=given.error_message,
                    attempts=given.attempts,
                    failed_at=given.failed_at,
                    redeemable_until=given.redeemable_until,
                )
                occurrences = kept.occurrences + 1
                self.letters[name] = replace(
                    kept, letter=told, state="open", occurrences=occurrences
                )

    def _is_resolved(self, letter: DeadLetter) -> bool:
        return any(
            key == (letter.seller, letter.token_sha256) and stood.status is Status.RESOLVED
            for key, stood in self.outcomes.items()
        )


def _names_nobody(outcome: Outcome) -> bool:
    """A resolved outcome must say who bought what."""
    someone = outcome.customer_aws_account_id or outcome.customer_identifier
    return outcome.status is Status.RESOLVED and not (someone and outcome.product_code)


def _winner(stood: Outcome, given: Outcome) -> Outcome:
    if stood.status is Status.RESOLVED:
        return stood
    if given.status is not Status.RESOLVED and given.settled_at < stood.settled_at:
        return stood
    first = given if given.received_at < stood.received_at else stood
    seen = min(stood.seen_since, given.seen_since)
    return replace(
        given, message_id=first.message_id, received_at=first.received_at, first_seen=seen
    )


def _identity(given: Outcome) -> tuple[str, ...]:
    if given.license_arn is not None:
        return (given.license_arn,)
    customer = given.customer_aws_account_id or given.customer_identifier or ""
    return (given.key.seller, customer, given.product_code or "")


def _customer(given: Outcome) -> Customer:
    return Customer(given.key.seller, None, None, given.settled_at, given.settled_at)


def _agreement(given: Outcome) -> Agreement:
    return Agreement(
        given.key.seller,
        given.customer_aws_account_id,
        given.customer_identifier,
        given.product_code or "",
        given.license_arn,
        given.agreement_id,
        given.offer_type,
        given.settled_at,
        given.settled_at,
    )


def _is_pending(kept: KeptLetter) -> bool:
    return kept.state in {"open", "replaying"}


def _died_again(kept: KeptLetter, given: DeadLetter) -> KeptLetter:
    letter = replace(
        given,
        token_sha256=given.token_sha256 or kept.letter.token_sha256,
        received_at=min(given.received_at, kept.letter.received_at),
        sealed=kept.letter.sealed,
        seal_key_id=kept.letter.seal_key_id,
    )
    occurrences = kept.occurrences + (kept.state != "open")
    return replace(kept, letter=letter, state="open", occurrences=occurrences)
