"""The ledger on a real PostgreSQL, under the role that has only the rights it needs."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fakes.ledger import (
    Agreement,
    Customer,
    FakeLedger,
)
from tests.fakes.ledger_suite import (
    LedgerSuite,
    LetterRow,
    failed,
    key,
    letter,
    resolved,
    unreadable,
)
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.core.exceptions import RowsRefused
from worker.core.records import Batch, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema


class PostgresBench:
    """The real ledger; the superuser looks behind it."""

    def __init__(self, schema: Schema, ledger: PostgresLedger) -> None:
        self.schema = schema
        self.ledger = ledger

    async def agreements(self) -> list[Agreement]:
        """All agreements."""
        rows = await self.schema.rows("SELECT * FROM resolution.agreements")
        return [Agreement(*row) for row in rows]

    async def customers(self) -> list[Customer]:
        """All customers."""
        rows = await self.schema.rows(
            "SELECT seller, customer_aws_account_id, customer_identifier, first_resolved_at,"
            " last_resolved_at FROM resolution.customer"
        )
        return [Customer(*row) for row in rows]

    async def letters(self) -> list[LetterRow]:
        """All dead letters."""
        rows = await self.schema.rows(
            "SELECT message_id, state, reason, error_code, attempts, occurrences, metadata, sealed"
            " FROM resolution.dead_letter ORDER BY id"
        )
        return [LetterRow(*row) for row in rows]

    async def malformed(self) -> list[tuple[str, str]]:
        """Message id and reason of all that could not be read."""
        rows = await self.schema.rows("SELECT message_id, reason FROM resolution.malformed")
        return [tuple(row) for row in rows]

    async def set_letter_state(self, state: str) -> None:
        """Do to all letters what an operator does to them."""
        await self.schema.execute(f"UPDATE resolution.dead_letter SET state = '{state}'")


@pytest.fixture
async def bench(schema: Schema, request: pytest.FixtureRequest) -> AsyncIterator[PostgresBench]:
    """An empty ledger; as a parameter, whether statements are prepared."""
    cache = getattr(request, "param", None)
    ledger = PostgresLedger(connector(lambda: schema.worker), statement_cache=cache)
    yield PostgresBench(schema, ledger)
    await ledger.close()


class TestPostgresLedger(LedgerSuite):
    """The suite, on PostgreSQL."""

    async def test_outside_text_that_can_not_be_stored(self, bench: PostgresBench) -> None:
        """NUL and lone surrogates from outside become U+FFFD in every text; nothing is refused."""
        foul, fair = "a\0b\ud800c\N{GRINNING FACE}", "a\ufffdb\ufffdc\N{GRINNING FACE}"
        outcome = replace(failed("t"), error_message=foul, error_code=foul, message_id=foul)
        batch = Batch(
            (outcome,),
            (letter("t", error_message=foul, message_id=foul, metadata=b'"\0\xff"'),),
            (unreadable("m", foul),),
        )
        stands = await bench.ledger.settle(batch)
        assert stands[key("t")].error_message == stands[key("t")].message_id == fair
        assert [(row.message_id, row.metadata) for row in await bench.letters()] == [
            (fair, '"\ufffd\ufffd"')
        ]
        assert await bench.malformed() == [("message-m", f"MissingToken: {fair}")]

    @pytest.mark.parametrize(
        "poison",
        [
            resolved("p", license_arn="".join(random.Random(1).choices("abcdefgh", k=50_000))),
            replace(failed("p"), attempts=2**40),
            replace(failed("p"), attempts=-1),
            replace(failed("p"), status=Status.MALFORMED),
        ],
        ids=["key too large", "out of range", "negative", "no status of a token"],
    )
    async def test_rows_that_can_never_be_written(
        self, bench: PostgresBench, poison: Outcome
    ) -> None:
        """Whatever data the database can't hold is the row's fault, and quoted nowhere."""
        with pytest.raises(RowsRefused) as refusal:
            await bench.ledger.settle(Batch((resolved("a"), poison)))
        assert poison.message_id not in str(refusal.value)
        assert await bench.ledger.find_outcomes([key("a"), key("p")]) == {}

    async def test_what_others_read(self, bench: PostgresBench) -> None:
        """The view of outcomes shows what the web tier should advise."""
        batch = (resolved("r"), failed("j", Status.REJECTED), failed("d", Status.DEAD))
        await bench.ledger.settle(Batch(batch))
        rows = await bench.schema.rows("SELECT status, advice FROM resolution.outcomes")
        assert {tuple(row) for row in rows} == {
            ("resolved", None),
            ("rejected", "restart_from_marketplace"),
            ("dead", "contact_seller"),
        }

    async def test_a_letter_remembers_its_first_death(self, bench: PostgresBench) -> None:
        """However often a message dies, its row tells when it died first and last."""
        for seconds in (1, 5, 3):
            await bench.ledger.settle(Batch((), (letter("t", seconds),)))
        (row,) = await bench.schema.rows(
            "SELECT failed_at - first_failed_at AS between FROM resolution.dead_letter"
        )
        assert row["between"].total_seconds() == 4

    @pytest.mark.parametrize("bench", [True, False], indirect=True, ids=["prepared", "as pooled"])
    @pytest.mark.parametrize("seed", range(3))
    async def test_it_does_what_its_stand_in_does(self, bench: PostgresBench, seed: int) -> None:
        """After any sequence of batches the ledger and its stand-in hold the same."""
        chance, fake = random.Random(seed), FakeLedger()
        for _ in range(30):
            batch = _any_batch(chance)
            assert await bench.ledger.settle(batch) == await fake.settle(batch)
        assert sorted(await bench.agreements(), key=repr) == sorted(
            fake.agreements.values(), key=repr
        )
        assert sorted(await bench.customers()) == sorted(fake.customers.values())
        told = {
            (kept.letter.message_id, kept.state, kept.letter.failed_at)
            for kept in fake.letters.values()
        }
        rows = await bench.schema.rows(
            "SELECT message_id, state, failed_at FROM resolution.dead_letter"
        )
        assert {tuple(row) for row in rows} == told
        assert await bench.ledger.dead_letter_counts() == await fake.dead_letter_counts()


def _any_batch(chance: random.Random) -> Batch:
    outcomes = tuple(_any_outcome(chance) for _ in range(chance.randrange(1, 8)))
    tokens = chance.sample("abcdefgh", chance.randrange(3))
    return Batch(outcomes, tuple(letter(token, chance.randrange(60)) for token in tokens))


def _any_outcome(chance: random.Random) -> Outcome:
    token, settled, received = chance.choice("abcdefgh"), chance.random(), chance.random()
    if chance.random() < 0.7:
        status = chance.choice([Status.REJECTED, Status.EXPIRED, Status.DEAD])
        return failed(token, status, round(settled * 60), round(received * 60))
    return resolved(
        token,
        round(settled * 60),
        round(received * 60),
        license_arn=chance.choice([None, "arn:1", "arn:2"]),
        customer_aws_account_id=chance.choice(["1", "2"]),
        customer_identifier=chance.choice([None, "x"]),
        agreement_id=chance.choice([None, "agmt-1", "agmt-2"]),
        offer_type=chance.choice([None, "free-trial", "private"]),
    )
