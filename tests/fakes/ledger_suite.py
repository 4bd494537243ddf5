"""What every ledger must do: one suite for the real one and its stand-in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from tests.fakes.ledger import Agreement, Customer
from worker.core.exceptions import RowsRefused
from worker.core.records import (
    Batch,
    DeadLetter,
    LetterReason,
    Malformed,
    Outcome,
    Status,
    TokenKey,
)
from worker.ports import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

START = datetime(2026, 11, 22, 3, 28, 0, 123456, tzinfo=UTC)


class LetterRow(NamedTuple):
    """What a test asks of a kept letter."""

    message_id: str
    state: str
    reason: str
    error_code: str
    attempts: int
    occurrences: int
    metadata: str | None
    sealed: bytes


class InspectedLedger(Ledger, Protocol):
    """A ledger with its gauges."""

    async def dead_letter_counts(self) -> Mapping[str, int]:
        """Open letters by reason."""
        ...

    async def redeemable(self) -> int:
        """Open letters whose token still lives."""
        ...


class Bench(Protocol):
    """A ledger, and a way to look behind it."""

    @property
    def ledger(self) -> InspectedLedger:
        """What is tested."""
        ...

    async def agreements(self) -> list[Agreement]:
        """All agreements."""
        ...

    async def customers(self) -> list[Customer]:
        """All customers."""
        ...

    async def letters(self) -> list[LetterRow]:
        """All dead letters."""
        ...

    async def malformed(self) -> list[tuple[str, str]]:
        """Message id and reason of all that could not be read."""
        ...

    async def set_letter_state(self, state: str) -> None:
        """Do to all letters what an operator does to them."""
        ...


def at(seconds: float) -> datetime:
    """An instant, counted from the start of the test's story."""
    return START + timedelta(seconds=seconds)


def key(token: str, seller: str = "default") -> TokenKey:
    """What names a token in the ledger."""
    return TokenKey(seller, hashlib.sha256(token.encode()).digest())


def resolved(token: str, settled: float = 1, received: float = 0, **members: Any) -> Outcome:
    """A resolved outcome with every member, unless told otherwise."""
    whole: dict[str, Any] = {
        "message_id": f"message-{token}-{received:g}",
        "attempts": 1,
        "product_code": "prod-1",
        "customer_aws_account_id": "012345678901",
        "customer_identifier": "customer-1",
        "license_arn": f"arn:aws:license-manager::1:license:{token}",
        "agreement_id": f"agmt-{token}",
        "offer_type": "free-trial",
        "first_seen": at(received),
    } | members
    return Outcome(
        key(token), Status.RESOLVED, received_at=at(received), settled_at=at(settled), **whole
    )


def failed(
    token: str, status: Status = Status.DEAD, settled: float = 1, received: float = 0
) -> Outcome:
    """An outcome of a token that let nobody in."""
    return Outcome(
        key(token),
        status,
        f"message-{token}-{received:g}",
        3,
        at(received),
        at(settled),
        error_code="InternalServiceErrorException",
        error_message=f"at {settled:g}",
        first_seen=at(received),
    )


def letter(token: str, failed_at: float = 1, **members: Any) -> DeadLetter:
    """A dead letter of a token."""
    fingerprint = key(token).sha256
    whole: dict[str, Any] = {
        "seller": "default",
        "reason": LetterReason.DEAD,
        "error_code": "Timeout",
        "error_message": "no answer in 5 s",
        "token_sha256": fingerprint,
        "body_sha256": hashlib.sha256(fingerprint).digest(),
        "message_id": f"message-{token}",
        "correlation_id": "correlation-1",
        "lane": "live",
        "metadata": b'{"session": "s"}',
        "attempts": 6,
        "received_at": at(0),
        "redeemable_until": datetime.now(UTC) + timedelta(hours=1),
        "sealed": bytes(range(256)),
        "seal_key_id": "key-1",
        "body_bytes": 256,
    } | members
    return DeadLetter(failed_at=at(failed_at), **whole)


def unreadable(name: str, reason: str = "the token is missing") -> Malformed:
    """A message that can't be read."""
    body = hashlib.sha256(name.encode()).digest()
    return Malformed("MissingToken", reason, body, None, f"message-{name}", None, None, None, at(0))


class LedgerSuite:
    """The promises of a ledger. A subclass has a fixture `bench`."""

    async def test_an_unsettled_token_is_absent(self, bench: Bench) -> None:
        """Recalling a token that nobody settled finds nothing."""
        assert await bench.ledger.find_outcomes([key("t")]) == {}
        assert await bench.ledger.find_outcomes([]) == {}

    async def test_what_is_settled_is_recalled_whole(self, bench: Bench) -> None:
        """Every member of an outcome comes back as it was settled, those of others apart."""
        known, dead = resolved("a"), failed("b")
        await bench.ledger.settle(Batch((known, dead)))
        found = await bench.ledger.find_outcomes([known.key, key("other"), dead.key])
        assert found == {known.key: known, dead.key: dead}

    async def test_settling_returns_what_stands(self, bench: Bench) -> None:
        """A batch's answer names every token in it and no other."""
        await bench.ledger.settle(Batch((failed("other"),)))
        batch = Batch((resolved("a"), failed("b", Status.REJECTED), failed("c", Status.EXPIRED)))
        stands = await bench.ledger.settle(batch)
        assert stands == {outcome.key: outcome for outcome in batch.outcomes}

    async def test_an_empty_batch_is_no_work(self, bench: Bench) -> None:
        """A batch without rows is accepted and tells of nothing."""
        assert await bench.ledger.settle(Batch()) == {}

    @pytest.mark.parametrize("later", [failed("t", settled=9), resolved("t", 9, product_code="x")])
    async def test_resolved_is_never_overwritten(self, bench: Bench, later: Outcome) -> None:
        """A resolved token stays what it was, whatever is settled after, and that is returned."""
        first = resolved("t")
        await bench.ledger.settle(Batch((first,)))
        stands = await bench.ledger.settle(Batch((later, failed("new"))))
        assert stands == {first.key: first, key("new"): failed("new")}
        assert (await bench.ledger.find_outcomes([first.key]))[first.key] == first

    async def test_a_failed_token_can_still_be_resolved(self, bench: Bench) -> None:
        """Resolving replaces a failure but keeps whose submission was the first."""
        await bench.ledger.settle(Batch((failed("t", settled=1, received=0),)))
        stands = await bench.ledger.settle(Batch((resolved("t", settled=60, received=50),)))
        first = resolved("t", settled=60, received=0)
        assert stands == {first.key: first}

    async def test_resolved_wins_even_if_it_is_older(self, bench: Bench) -> None:
        """A resolution that reaches the ledger late still replaces a newer failure."""
        await bench.ledger.settle(Batch((failed("t", settled=60),)))
        stands = await bench.ledger.settle(Batch((resolved("t", settled=1),)))
        assert stands[key("t")].status is Status.RESOLVED

    async def test_a_newer_failure_replaces_an_older(self, bench: Bench) -> None:
        """The newest failure stands, with the id and time of the earliest submission."""
        await bench.ledger.settle(Batch((failed("t", Status.REJECTED, settled=1, received=0.5),)))
        stands = await bench.ledger.settle(Batch((failed("t", settled=2, received=0.7),)))
        assert stands == {key("t"): failed("t", settled=2, received=0.5)}

    async def test_an_earlier_submission_becomes_the_first(self, bench: Bench) -> None:
        """A submission received earlier but settled later gives the row its id and time."""
        await bench.ledger.settle(Batch((failed("t", settled=5, received=3),)))
        given = failed("t", settled=8, received=1)
        assert await bench.ledger.settle(Batch((given,))) == {given.key: given}

    async def test_an_older_failure_does_not_return(self, bench: Bench) -> None:
        """A failure given again after a newer one was settled changes nothing."""
        newer = failed("t", Status.EXPIRED, settled=10)
        await bench.ledger.settle(Batch((newer,)))
        assert await bench.ledger.settle(Batch((failed("t", settled=5),))) == {newer.key: newer}

    async def test_sellers_do_not_share_outcomes(self, bench: Bench) -> None:
        """The same token of two sellers is two tokens."""
        ours, theirs = resolved("t"), replace(failed("t"), key=key("t", "other"))
        assert await bench.ledger.settle(Batch((ours, theirs))) == {
            ours.key: ours,
            theirs.key: theirs,
        }

    @pytest.mark.parametrize("order", [1, -1])
    async def test_one_token_may_be_twice_in_a_batch(self, bench: Bench, order: int) -> None:
        """Of two outcomes of one token in a batch the resolved one stands."""
        pair = (failed("t", settled=2), resolved("t", settled=1))[::order]
        stands = await bench.ledger.settle(Batch(pair))
        assert stands[key("t")].status is Status.RESOLVED

    async def test_one_token_may_be_resolved_twice_in_a_batch(self, bench: Bench) -> None:
        """Of two resolutions the first stands, and an offer type that either names is kept."""
        first = resolved("t", offer_type=None)
        stands = await bench.ledger.settle(Batch((first, resolved("t", settled=2))))
        assert stands == {first.key: first}
        assert [row.offer_type for row in await bench.agreements()] == ["free-trial"]

    async def test_a_batch_given_again_changes_nothing(self, bench: Bench) -> None:
        """The same batch twice leaves what it left the first time: its fate may be unknown."""
        batch = Batch(
            (resolved("a"), failed("b"), resolved("c", license_arn=None)),
            (letter("b"),),
            (unreadable("m"),),
        )
        once = await bench.ledger.settle(batch), await _everything(bench)
        twice = await bench.ledger.settle(batch), await _everything(bench)
        assert twice == once

    async def test_an_agreement_gathers_what_tokens_tell(self, bench: Bench) -> None:
        """One row a licence: null erases nothing, the first offer type stays, times widen."""
        arn = "arn:one"
        one = resolved("a", 10, license_arn=arn, offer_type=None, customer_identifier=None)
        two = resolved("b", 5, license_arn=arn, customer_aws_account_id=None, agreement_id=None)
        three = resolved("c", 20, license_arn=arn, offer_type="other", agreement_id=None)
        for outcome in (one, two, three):
            await bench.ledger.settle(Batch((outcome,)))
        account, identifier = "012345678901", "customer-1"
        assert await bench.agreements() == [
            Agreement(
                *("default", account, identifier, "prod-1", arn, "agmt-a", "free-trial"),
                *(at(5), at(20)),
            )
        ]

    async def test_agreements_merge_within_a_batch(self, bench: Bench) -> None:
        """Tokens of one licence in one batch make one row, merged in the batch's order."""
        arn = "arn:one"
        batch = (
            resolved("a", 10, license_arn=arn, offer_type=None, agreement_id=None),
            resolved("b", 5, license_arn=arn, offer_type="first"),
            resolved("c", 20, license_arn=arn, offer_type="second", agreement_id=None),
        )
        await bench.ledger.settle(Batch(batch))
        (row,) = await bench.agreements()
        assert (row.agreement_id, row.offer_type) == ("agmt-b", "first")
        assert (row.first_resolved_at, row.last_resolved_at) == (at(5), at(20))

    async def test_without_a_licence_customer_and_product_name_it(self, bench: Bench) -> None:
        """Where AWS names no licence there is one agreement a seller, customer and product."""
        old: dict[str, Any] = {
            "license_arn": None,
            "customer_aws_account_id": None,
            "agreement_id": None,
        }
        batch = (
            resolved("a", **old),
            resolved("b", 2, **old),
            resolved("c", 2, **old | {"product_code": "prod-2"}),
            replace(resolved("d", 2, **old), key=key("d", "other")),
            resolved("e", 2, **old | {"customer_identifier": "customer-2"}),
        )
        await bench.ledger.settle(Batch(batch[:2]))
        await bench.ledger.settle(Batch(batch))
        named = {
            (r.seller, r.customer_identifier, r.product_code) for r in await bench.agreements()
        }
        assert len(await bench.agreements()) == len(named) == 4

    async def test_customers_are_remembered_once(self, bench: Bench) -> None:
        """A customer's tokens make one row; a failed token makes none."""
        batch = (resolved("a", 5, customer_identifier=None), resolved("b", 3), failed("c"))
        await bench.ledger.settle(Batch(batch))
        await bench.ledger.settle(Batch((resolved("d", 9, customer_identifier=None),)))
        assert await bench.customers() == [
            Customer("default", "012345678901", "customer-1", at(3), at(9))
        ]

    async def test_a_letter_is_kept_with_its_message(self, bench: Bench) -> None:
        """What was given up is kept open, sealed as it was, metadata as it was written."""
        given = letter("t", metadata=rb'{"nul": "\u0000"}')
        await bench.ledger.settle(Batch((failed("t"),), (given,)))
        assert await bench.letters() == [
            LetterRow(
                *("message-t", "open", "dead", "Timeout", 6, 1, r'{"nul": "\u0000"}'),
                given.sealed,
            )
        ]

    async def test_a_resolved_token_leaves_no_letter(self, bench: Bench) -> None:
        """A letter of a token that stands resolved is not kept: nothing is left to do."""
        await bench.ledger.settle(Batch((resolved("t"),)))
        await bench.ledger.settle(Batch((failed("t", settled=9),), (letter("t"),)))
        assert await bench.letters() == []

    @pytest.mark.parametrize(
        ("before", "after"),
        [("open", "resolved"), ("replaying", "resolved"), ("discarded", "discarded")],
    )
    async def test_resolving_closes_open_letters(
        self, bench: Bench, before: str, after: str
    ) -> None:
        """Once a token resolves, its letters that wait for something are closed, no others."""
        await bench.ledger.settle(Batch((failed("t"),), (letter("t"),)))
        await bench.set_letter_state(before)
        await bench.ledger.settle(Batch((failed("u"),), (letter("u"),)))
        await bench.ledger.settle(Batch((resolved("t", settled=9),)))
        states = {row.message_id: row.state for row in await bench.letters()}
        assert states == {"message-t": after, "message-u": "open"}

    async def test_another_sellers_letters_stay_open(self, bench: Bench) -> None:
        """A token that one seller's account resolves leaves the letters of other sellers alone."""
        theirs = letter("t", seller="other", message_id="theirs")
        await bench.ledger.settle(Batch((), (theirs,)))
        await bench.ledger.settle(Batch((resolved("t"),)))
        assert [row.state for row in await bench.letters()] == ["open"]
        again = replace(theirs, failed_at=at(5), error_code="again")
        await bench.ledger.settle(Batch((), (again,)))
        assert [row.error_code for row in await bench.letters()] == ["again"]

    async def test_a_message_told_again_is_one_letter(self, bench: Bench) -> None:
        """A message given up again without a replay between is the same death, newly described."""
        await bench.ledger.settle(Batch((), (letter("t"),)))
        await bench.ledger.settle(Batch((), (letter("t", 2, error_code="ConnectionFault"),)))
        (row,) = await bench.letters()
        assert (row.error_code, row.occurrences, row.state) == ("ConnectionFault", 1, "open")

    async def test_one_letter_may_be_twice_in_a_batch(self, bench: Bench) -> None:
        """Of one message given up twice in a batch the newest telling is kept."""
        pair = (letter("t", 2, error_code="new"), letter("t", 1, error_code="old"))
        await bench.ledger.settle(Batch((), pair))
        assert [(row.error_code, row.occurrences) for row in await bench.letters()] == [("new", 1)]

    async def test_dying_again_after_a_replay_counts(self, bench: Bench) -> None:
        """A replayed message that dies again reopens its row, refreshed, one occurrence more.

        What was sealed of it stays: it is the same message, and nobody can exchange it.
        """
        await bench.ledger.settle(Batch((), (letter("t"),)))
        await bench.set_letter_state("replaying")
        again = letter("t", 9, attempts=12, reason=LetterReason.EXPIRED, sealed=b"new")
        for _ in range(2):
            await bench.ledger.settle(Batch((), (again,)))
        (row,) = await bench.letters()
        assert (row.state, row.reason, row.attempts, row.occurrences, row.sealed) == (
            *("open", "expired", 12, 2),
            letter("t").sealed,
        )

    async def test_a_failure_reopens_all_letters_of_its_token_that_are_replayed(
        self, bench: Bench
    ) -> None:
        """Submissions of a token that were replayed together are open again together."""
        others = (letter("t", message_id="another"), letter("u"))
        await bench.ledger.settle(Batch((), (letter("t"), *others)))
        await bench.set_letter_state("replaying")
        again = letter("t", 9, error_code="again")
        for _ in range(2):
            await bench.ledger.settle(Batch((), (again,)))
        rows = {row.message_id: row for row in await bench.letters()}
        assert {name: row.state for name, row in rows.items()} == {
            "message-t": "open",
            "another": "open",
            "message-u": "replaying",
        }
        assert (rows["another"].error_code, rows["another"].occurrences) == ("again", 2)

    async def test_a_failure_leaves_other_letters_of_its_token_alone(self, bench: Bench) -> None:
        """Only letters that are being replayed are told what became of another submission."""
        await bench.ledger.settle(Batch((), (letter("t", message_id="another"),)))
        await bench.ledger.settle(Batch((), (letter("t", 9, error_code="again"),)))
        rows = {row.message_id: row for row in await bench.letters()}
        assert rows["another"].error_code != "again"
        assert rows["another"].occurrences == 1

    async def test_a_batch_given_again_reopens_nothing(self, bench: Bench) -> None:
        """What an operator did since to a letter is not undone by the same death told again."""
        await bench.ledger.settle(Batch((), (letter("t"),)))
        await bench.set_letter_state("discarded")
        await bench.ledger.settle(Batch((), (letter("t"),)))
        assert [row.state for row in await bench.letters()] == ["discarded"]

    async def test_another_submission_is_another_letter(self, bench: Bench) -> None:
        """The same token submitted by another message has a letter of its own."""
        pair = (letter("t"), letter("t", message_id="another"))
        await bench.ledger.settle(Batch((), pair))
        assert {row.message_id for row in await bench.letters()} == {"message-t", "another"}

    async def test_gauges_count_open_letters(self, bench: Bench) -> None:
        """Open letters are counted by reason, none left out, and those that still live apart."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        parked = letter("p", reason=LetterReason.PARKED, token_sha256=None, redeemable_until=None)
        await bench.ledger.settle(Batch((), (letter("gone"),)))
        await bench.set_letter_state("archived")
        batch = Batch((), (letter("a"), letter("b", redeemable_until=past), parked))
        await bench.ledger.settle(batch)
        assert await bench.ledger.dead_letter_counts() == {
            "rejected": 0,
            "expired": 0,
            "dead": 2,
            "malformed": 0,
            "parked": 1,
        }
        assert await bench.ledger.redeemable() == 1

    async def test_an_unreadable_message_is_noted_once(self, bench: Bench) -> None:
        """A message that can't be read is noted with code and words, once however often told."""
        for _ in range(2):
            await bench.ledger.settle(
                Batch((), (), (unreadable("m"), unreadable("m"), unreadable("n")))
            )
        assert sorted(await bench.malformed()) == [
            ("message-m", "MissingToken: the token is missing"),
            ("message-n", "MissingToken: the token is missing"),
        ]

    async def test_a_poison_row_refuses_the_whole_batch(self, bench: Bench) -> None:
        """A row that can never be written is named as such, and nothing of its batch is kept."""
        poison = resolved("p", customer_aws_account_id=None, customer_identifier=None)
        batch = Batch((resolved("a"), poison), (letter("b"),), (unreadable("m"),))
        with pytest.raises(RowsRefused):
            await bench.ledger.settle(batch)
        assert await bench.ledger.find_outcomes([key("a"), key("p")]) == {}
        assert await _everything(bench) == ([], [], [], [])
        healthy = resolved("a")
        assert await bench.ledger.settle(Batch((healthy,))) == {healthy.key: healthy}


async def _everything(bench: Bench) -> tuple[list[Any], ...]:
    return (
        sorted(await bench.agreements(), key=repr),
        await bench.customers(),
        await bench.letters(),
        await bench.malformed(),
    )
