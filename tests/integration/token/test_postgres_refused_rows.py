"""Whatever the database refuses a row for: what AWS said stays, nothing goes round, all is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.records import POLICY, body
from tests.fakes.worker import FakeWorker
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.core.records import Answer, Fault, FaultKind, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema
    from tests.fakes.outside import FakeDelivery

WHOLE = Answer("prod", "012345678901", "cust", "arn:aws:license:l-1", "agmt-1")
INVALID = Fault(FaultKind.TOKEN, "InvalidTokenException", "no such token", Status.REJECTED)
RAISES = (
    "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN RAISE EXCEPTION 'not here: %', new; END$$;"
    " CREATE TRIGGER refuse BEFORE INSERT ON resolution.{table}"
    " FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION public.refuse()"
)
PARTITIONED = (
    "DROP VIEW resolution.malformed; DROP TABLE resolution.malformed_message;"
    " CREATE TABLE resolution.malformed_message (body_sha256 bytea, message_id text, reason text,"
    " received_at timestamptz, noted_at timestamptz DEFAULT now(),"
    " PRIMARY KEY (body_sha256, message_id)) PARTITION BY HASH (message_id);"
    " ALTER TABLE resolution.malformed_message OWNER TO resolution_migrator"
)


def check(table: str, condition: str) -> str:
    """A constraint that somebody has added."""
    return f"ALTER TABLE resolution.{table} ADD CONSTRAINT own_rule CHECK ({condition})"


@dataclass(frozen=True)
class Refusal:
    """A database that refuses something, a message, and what must become of it.

    Attributes:
        breaks: What somebody did to the database.
        result: What AWS says; None for a message that can't be read.
        kept_as: What there is of its row.
        left_out: What of it was left out.
        stored: Whether the ledger has it.
        letter: Reason and error code of its dead letter.
        properties: Of the message, and members of its body.
    """

    name: str
    breaks: str
    result: Answer | Fault | None
    kept_as: str
    left_out: tuple[str, ...]
    stored: bool = True
    letter: tuple[str, str] | None = None
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """What the buyer must be told."""
        if self.result is None:
            return "malformed"
        return "resolved" if isinstance(self.result, Answer) else "rejected"


REFUSALS = [
    Refusal(
        "a rule for the offer type",
        check("ledger", "offer_type IN ('contract', 'free-trial')"),
        WHOLE,
        "reduced",
        ("offer_type",),
        properties={"offer_type": "prueba 30 €"},
    ),
    Refusal(
        "a rule for the agreement's offer type, which the ledger does not have",
        check("agreement", "offer_type IS NULL"),
        WHOLE,
        "reduced",
        ("offer_type",),
        properties={"offer_type": "o"},
    ),
    Refusal(
        "rules for two members",
        check("ledger", "offer_type IS NULL AND agreement_id IS NULL"),
        WHOLE,
        "reduced",
        ("agreement_id", "offer_type"),
        properties={"offer_type": "o"},
    ),
    Refusal(
        "a rule for message ids",
        check("ledger", "message_id ~ '^[a-z0-9-]+$'"),
        WHOLE,
        "reduced",
        ("message_id",),
        properties={"message_id": "заказ-42"},
    ),
    Refusal(
        "a licence too large for an index",
        "SELECT",
        Answer("prod", "012345678901", None, "".join(f"arn{n:x}" for n in range(9_000))),
        "reduced",
        ("license_arn",),
    ),
    Refusal(
        "a column that must be filled in",
        "ALTER TABLE resolution.agreement ADD COLUMN own text NOT NULL",
        WHOLE,
        "reduced",
        ("customer and agreement",),
    ),
    Refusal(
        "a trigger for agreements",
        RAISES.format(table="agreement", when="true"),
        WHOLE,
        "reduced",
        ("customer and agreement",),
    ),
    Refusal(
        "a deferred foreign key, refused at COMMIT",
        "CREATE TABLE public.known (id text PRIMARY KEY);"
        " ALTER TABLE resolution.customer ADD FOREIGN KEY (customer_identifier)"
        " REFERENCES public.known DEFERRABLE INITIALLY DEFERRED;"
        " GRANT SELECT ON public.known TO PUBLIC",
        WHOLE,
        "reduced",
        ("customer_identifier",),
    ),
    Refusal(
        "a trigger for all that is resolved",
        RAISES.format(table="ledger", when="new.status = 'resolved'"),
        WHOLE,
        "dead_letter",
        ("record",),
        stored=False,
        letter=("dead", "Unstorable"),
    ),
    Refusal(
        "a rule for metadata",
        check("dead_letter", "metadata IS NULL"),
        INVALID,
        "reduced",
        ("metadata",),
        letter=("rejected", "InvalidTokenException"),
        properties={"metadata": {"session": "s"}},
    ),
    Refusal(
        "a trigger for all dead letters",
        RAISES.format(table="dead_letter", when="true"),
        INVALID,
        "parked",
        ("dead letter",),
    ),
    Refusal(
        "a trigger for all that is not resolved",
        RAISES.format(table="ledger", when="new.status <> 'resolved'"),
        INVALID,
        "dead_letter",
        ("record",),
        stored=False,
        letter=("rejected", "InvalidTokenException"),
    ),
    Refusal(
        "a trigger for everything",
        RAISES.format(table="ledger", when="true")
        + "; CREATE TRIGGER refuse BEFORE INSERT ON resolution.dead_letter"
        " FOR EACH ROW EXECUTE FUNCTION public.refuse()",
        WHOLE,
        "parked",
        ("agreement_id", "customer_identifier", "license_arn", "message_id", "record"),
        stored=False,
    ),
    Refusal(
        "a rule for correlation ids of what can't be read",
        check("dead_letter", "correlation_id IS NULL"),
        None,
        "reduced",
        ("correlation_id",),
        letter=("malformed", "BodyNotJson"),
        properties={"correlation_id": "注文"},
    ),
    Refusal(
        "a partition that is missing",
        PARTITIONED,
        None,
        "dead_letter",
        ("record",),
        letter=("malformed", "BodyNotJson"),
    ),
]


@asynccontextmanager
async def working(schema: Schema) -> AsyncIterator[FakeWorker]:
    """A worker between stand-ins that writes into a real database as the worker's role."""
    ledger = PostgresLedger(connector(lambda: schema.worker))
    worker = FakeWorker(POLICY, 4, None, ledger=ledger)  # type: ignore[arg-type]
    running = asyncio.create_task(worker.pipeline.run())
    try:
        yield worker
    finally:
        running.cancel()
        await asyncio.wait([running])
        await ledger.close()


def deliver(worker: FakeWorker, refusal: Refusal) -> FakeDelivery:
    """Hand out the message."""
    given = dict(refusal.properties)
    inside = {name: given.pop(name) for name in ("offer_type", "metadata") if name in given}
    if refusal.result is None:
        return worker.deliver("", content=b"{", **given)
    worker.aws.script("t", refusal.result)
    return worker.deliver("t", content=body("t", **inside), **given)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.name)
@pytest.mark.sampled(3)
async def test_a_refused_row_never_changes_what_aws_said(schema: Schema, refusal: Refusal) -> None:
    """It is told and, as far as it fits, stored; what is left out is named, and one call made."""
    await schema.execute(refusal.breaks)
    with capture_logs() as logged:
        async with working(schema) as worker:
            delivery = deliver(worker, refusal)
            await worker.all_acked(30)
        told = worker.event(delivery)

    assert told["status"] == refusal.status
    assert len(worker.aws.tokens) == (refusal.result is not None)
    parked = refusal.kept_as == "parked"
    assert worker.moved(delivery) == [("resolution.internal", "parked")] * parked
    (line,) = [each for each in logged if each["event"] == "row_refused"]
    assert (line["kept_as"], line["left_out"]) == (refusal.kept_as, list(refusal.left_out))
    assert "SQLSTATE" in line["reason"]
    assert worker.telemetry.rows_refused == {refusal.kept_as: 1}
    rows = await schema.rows("SELECT status FROM resolution.outcomes")
    stored = refusal.stored and refusal.result is not None
    assert [row["status"] for row in rows] == [refusal.status] * stored
    letters = await schema.rows(
        "SELECT reason, error_code, error_message FROM resolution.dead_letter"
    )
    assert [tuple(row)[:2] for row in letters] == [refusal.letter] * (refusal.letter is not None)
    if refusal.letter == ("dead", "Unstorable"):
        assert "RaiseError" in letters[0]["error_message"]
        assert "account 012345678901" in letters[0]["error_message"]
    assert "not here" not in json.dumps(logged, default=str)


async def test_one_refused_row_harms_no_neighbour(schema: Schema) -> None:
    """Of fifty tokens one is refused by a trigger: the others are settled as they are."""
    await schema.execute(RAISES.format(table="agreement", when="new.license_arn = 'arn:t7'"))
    async with working(schema) as worker:
        for number in range(50):
            worker.deliver(f"t{number}")
        await worker.all_acked(30)
    assert {worker.event(each)["status"] for each in worker.deliveries} == {"resolved"}
    (row,) = await schema.rows(
        "SELECT count(*) AS outcomes, count(license_arn) AS licences FROM resolution.outcomes"
    )
    assert tuple(row) == (50, 49)
    assert worker.telemetry.rows_refused == {"reduced": 1}
