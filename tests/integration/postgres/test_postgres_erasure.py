"""Erasure of one customer on a real PostgreSQL, as the operator's role."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from harness.schema import connected
from tests.fakes.ledger_suite import at, failed, key, letter, resolved, unreadable
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.operator.erasure import Erased, NamesCustomer, Request, erase
from worker.adapters.postgres.sessions import connector
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Batch, LetterReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema
    from worker.core.records import Outcome

ACCOUNT, IDENTIFIER = "555555555501", "Customer.9+x(y"
OTHER, OTHER_IDENTIFIER = "555555555502", "Customer-9+x(y"
NOTHING = Erased(0, 0, 0, 0, 0, 0, 0, 0)


def token_of(name: str, account: str | None, identifier: str | None, **members: Any) -> Outcome:
    """A resolved token of a customer."""
    return resolved(
        name, customer_aws_account_id=account, customer_identifier=identifier, **members
    )


class Stored:
    """A prepared database, and what is done to it."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.ledger = PostgresLedger(connector(lambda: schema.worker))

    async def erase(
        self,
        customer: str,
        *,
        seller: str | None = None,
        dry_run: bool = False,
        actor: str = "ada",
        reason: str = "T-1",
    ) -> Erased:
        """Erase as the operator."""
        request = Request(customer, seller, actor, reason)
        return await erase(connector(lambda: self.schema.operator), request, dry_run=dry_run)

    async def texts(self) -> dict[str, str]:
        """All that every table of the schema holds, as text."""
        tables = await self.schema.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'resolution'::regnamespace"
            " AND relkind IN ('r', 'v', 'm', 'p')"
        )
        found = {}
        for (table,) in tables:
            rows = await self.schema.rows(f"SELECT t::text FROM resolution.{table} AS t")
            found[table] = "\n".join(row[0] for row in rows)
        return found

    async def naming(self, *names: str) -> set[str]:
        """The tables in which one of these names stands anywhere."""
        texts = await self.texts()
        # A text in a row, in an array or in JSON may be quoted: compare without.
        return {
            table
            for table, text in texts.items()
            for name in names
            if name in text.replace("\\", "").replace('"', "")
        }

    async def audit(self) -> list[Any]:
        """Actor, reason, action and subject of each entry."""
        rows = await self.schema.rows(
            "SELECT actor, reason, action, subject FROM resolution.audit ORDER BY id"
        )
        return [(*row[:3], json.loads(row[3])) for row in rows]


@pytest.fixture
async def stored(schema: Schema) -> AsyncIterator[Stored]:
    """A customer, all that may be stored of it, and a neighbour that looks much like it."""
    stored = Stored(schema)
    naming: dict[str, Any] = {
        "metadata": f'{{"account": "{ACCOUNT}"}}'.encode(),
        "reason": LetterReason.REJECTED,
    }
    notes = replace(unreadable("m"), message_id="message-unread")
    await stored.ledger.settle(
        Batch(
            (
                token_of("both", ACCOUNT, IDENTIFIER),
                token_of("account", ACCOUNT, None),
                token_of("identifier", None, IDENTIFIER),
                token_of("seller", ACCOUNT, IDENTIFIER, license_arn=None),
                token_of("other", OTHER, OTHER_IDENTIFIER),
                token_of("shared", OTHER, IDENTIFIER),
                failed("unresolved"),
            ),
            (
                letter("unresolved", **naming),
                letter("neighbour", metadata=f'"{OTHER} 0{ACCOUNT} {ACCOUNT}0"'.encode()),
                letter(
                    "unread", body_sha256=notes.body_sha256, message_id="message-unread", **naming
                ),
            ),
            (notes, unreadable("n", f"what is {IDENTIFIER}?"), unreadable("o")),
        )
    )
    # A resolved token keeps its letters from before.
    await stored.schema.rows(
        "INSERT INTO resolution.dead_letter (seller, state, reason, error_code, error_message,"
        " token_sha256, body_sha256, message_id, lane, attempts, received_at, first_failed_at,"
        " failed_at, sealed, seal_key_id, body_bytes) VALUES ('default', 'resolved', 'dead', '',"
        " '', $1, sha256('b'), 'm', 'live', 1, now(), now(), now(), 'x', 'k', 1)",
        key("both").sha256,
    )
    await stored.schema.execute(
        "INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)"
        f" SELECT id, 'replayed', 'bob', 'for {ACCOUNT}, who calls' FROM resolution.dead_letter;"
        "INSERT INTO resolution.replay (actor, reason, selection) VALUES"
        f" ('bob', 'for {IDENTIFIER}', '{{\"filter\": [\"{ACCOUNT}\", \"{OTHER}\"]}}')"
    )
    yield stored
    await stored.ledger.close()


async def test_nothing_of_the_customer_is_left(stored: Stored) -> None:
    """After an erasure neither its account nor its identifier stands in any table."""
    assert len(await stored.naming(ACCOUNT, IDENTIFIER)) > 6
    erased = await stored.erase(ACCOUNT)
    assert erased == Erased(
        outcomes=4,
        customers=2,
        agreements=4,
        letters=3,
        events=5,
        malformed=2,
        mentions=2,
        audited=0,
    )
    assert await stored.naming(ACCOUNT) - {"dead_letter"} == set()
    # Those of another account that has the same identifier are that customer's.
    left = {"ledger", "outcomes", "agreement", "agreements", "customer"}
    assert await stored.naming(IDENTIFIER) == left


async def test_others_are_left_as_they_were(stored: Stored) -> None:
    """Neighbours keep their rows, and letters that only look alike stay word for word."""
    await stored.erase(ACCOUNT)
    texts = await stored.texts()
    assert f"{OTHER} 0{ACCOUNT} {ACCOUNT}0" in texts["dead_letter"]
    keys = [key(name) for name in ("other", "shared", "unresolved")]
    assert set(await stored.ledger.find_outcomes(keys)) == set(keys)
    rows = await stored.schema.rows("SELECT reason, selection FROM resolution.replay")
    assert [(row[0], json.loads(row[1])) for row in rows] == [
        ("for [erased]", {"filter": ["[erased]", OTHER]})
    ]


async def test_the_audit_has_counts_alone(stored: Stored) -> None:
    """The entry says who, why and how much, and nothing from which the customer could be told."""
    await stored.erase(ACCOUNT, actor="ada", reason="ticket 7")
    (entry,) = await stored.audit()
    assert entry[:3] == ("ada", "ticket 7", "erase")
    assert entry[3] == {
        "seller": None,
        "outcomes": 4,
        "customers": 2,
        "agreements": 4,
        "letters": 3,
        "events": 5,
        "malformed": 2,
        "mentions": 2,
    }


async def test_an_identifier_names_the_customer_too(stored: Stored) -> None:
    """By its identifier all accounts go that AWS has named beside it, and their rows."""
    erased = await stored.erase(IDENTIFIER)
    assert erased.outcomes == 6
    assert await stored.naming(IDENTIFIER, OTHER_IDENTIFIER) == set()


async def test_a_dry_run_changes_nothing(stored: Stored) -> None:
    """A dry run counts exactly what the erasure then removes, and leaves all as it was."""
    before = await stored.texts()
    counted = await stored.erase(ACCOUNT, dry_run=True)
    assert await stored.texts() == before
    assert await stored.erase(ACCOUNT) == counted


async def test_twice_is_once(stored: Stored) -> None:
    """A second erasure finds nothing, and adds no entry; nor does that of an unknown customer."""
    await stored.erase(ACCOUNT)
    for customer in (ACCOUNT, "000000000000", "x"):
        found = await stored.erase(customer)
        assert found.is_nothing
        assert found == NOTHING
    assert len(await stored.audit()) == 1


async def test_of_one_seller_alone(stored: Stored) -> None:
    """With a seller named, another seller's rows of the same customer stay."""
    await stored.ledger.settle(
        Batch((replace(token_of("theirs", ACCOUNT, IDENTIFIER), key=key("theirs", "second")),))
    )
    assert (await stored.erase(ACCOUNT, seller="second")).outcomes == 1
    assert (await stored.erase(ACCOUNT)).outcomes == 4


async def test_a_reason_that_names_the_customer_is_refused(stored: Stored) -> None:
    """Neither a reason nor an actor brings the name into the audit, by whichever name it goes."""
    before = await stored.texts()
    with pytest.raises(NamesCustomer):
        await stored.erase(ACCOUNT, reason=f"{IDENTIFIER} asked")
    with pytest.raises(NamesCustomer):
        await stored.erase(ACCOUNT, actor=ACCOUNT)
    assert await stored.texts() == before


async def test_what_the_audit_says_stays_and_is_told(stored: Stored) -> None:
    """Older entries that name the customer are counted; the audit only grows."""
    async with connected(stored.schema.operator) as operator:
        await operator.execute(
            "INSERT INTO resolution.audit (actor, reason, action)"
            f" VALUES ('bob', 'for {ACCOUNT}', 'dead-letters.replay')"
        )
    assert (await stored.erase(ACCOUNT)).audited == 1
    assert [entry[0] for entry in await stored.audit()] == ["bob", "ada"]


async def test_letters_of_tokens_that_were_never_resolved_are_nobodys(stored: Stored) -> None:
    """A letter that names nobody, of a token that never told whose it is, stays."""
    await stored.erase(ACCOUNT)
    rows = await stored.schema.rows("SELECT message_id FROM resolution.dead_letter")
    assert [row[0] for row in rows] == ["message-neighbour"]


async def test_short_names_are_taken_as_they_stand(stored: Stored) -> None:
    """A name of a few letters erases its own rows, not every text in which it occurs."""
    await stored.ledger.settle(Batch((token_of("short", None, "session"),)))
    erased = await stored.erase("session")
    assert (erased.outcomes, erased.letters) == (1, 0)


async def test_erasing_while_workers_write(stored: Stored) -> None:
    """Erasures and writers of the same customer never deadlock, and none of either fails."""

    async def write(worker: int) -> None:
        ledger = PostgresLedger(connector(lambda: stored.schema.worker))
        for turn in range(30):
            names = [f"w{worker}-{turn}-{number}" for number in range(20)]
            outcomes = tuple(token_of(name, ACCOUNT, IDENTIFIER) for name in names)
            await ledger.settle(Batch(outcomes))
        await ledger.close()

    async def wipe() -> int:
        return sum([(await stored.erase(ACCOUNT)).outcomes for _ in range(8)])

    async with asyncio.TaskGroup() as group:
        erasing = group.create_task(wipe())
        for worker in range(2):
            group.create_task(write(worker))
    last = await stored.erase(ACCOUNT)
    assert erasing.result() + last.outcomes == 4 + 2 * 30 * 20
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [row[0] for row in await stored.schema.rows(deadlocks)] == [0]


async def test_the_worker_may_not_erase(stored: Stored) -> None:
    """With the worker's password nothing can be erased, and the words say who may."""
    request = Request(ACCOUNT, None, "ada", "T-1")
    with pytest.raises(LedgerUnavailable, match="connect as resolution_operator"):
        await erase(connector(lambda: stored.schema.worker), request)
    async with connected(stored.schema.worker) as worker:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.fetch("SELECT resolution.erase_customer('x', NULL, 'a', 'r')")


async def test_an_erased_token_is_stored_anew(stored: Stored) -> None:
    """A token that is submitted again after the erasure is as one that nobody has seen."""
    await stored.erase(ACCOUNT)
    assert await stored.ledger.find_outcomes([key("both")]) == {}
    again = replace(token_of("both", ACCOUNT, IDENTIFIER), settled_at=at(99))
    assert await stored.ledger.settle(Batch((again,))) == {again.key: again}
