"""`lookup`: one buyer on the phone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from tests.fakes.ledger_suite import key, letter, resolved, unreadable
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.rate.fleet import PostgresFleet
from worker.adapters.postgres.sessions import connector
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.cli.main import app
from worker.core.rate.fleet import ReplicaState, Report
from worker.core.records import Batch, DeadLetter, Outcome, Status
from worker.core.support_code import support_code

if TYPE_CHECKING:
    from harness.schema import Schema
    from harness.servers import Broker

NOW = datetime.now(UTC)
BOUGHT = replace(
    resolved("ok-bought", message_id="order-1"),
    received_at=NOW - timedelta(minutes=2),
    settled_at=NOW - timedelta(minutes=1),
    first_seen=NOW - timedelta(minutes=2),
)
DEAD = Outcome(
    key("ok-dead"),
    Status.DEAD,
    "order-2",
    6,
    NOW,
    NOW,
    error_code="Timeout",
    error_message="no answer in 5 s",
    first_seen=NOW,
)
SUPPORT_CODE = support_code(BOUGHT.key.sha256)


def living(token: str, **members: Any) -> DeadLetter:
    """A dead letter of a token that may still be redeemed."""
    bare = letter(token, **members)
    until = NOW + timedelta(hours=3)
    return replace(bare, failed_at=NOW, received_at=NOW, redeemable_until=until)


@dataclass
class Desk:
    """A person on call, with what is stored."""

    schema: Schema

    def look(self, *arguments: str, **environment: str) -> Result:
        """Run the command as an operator; broker and worker are away unless named."""
        env = {
            "WORKER_POSTGRES__DSN": self.schema.operator,
            "WORKER_AMQP__URL": "amqp://guest:guest@127.0.0.1:9/",
            "WORKER_HTTP__PORT": "0",
            **environment,
        }
        return CliRunner().invoke(app, ["lookup", *arguments], env=env)

    def found(self, *arguments: str) -> dict[str, Any]:
        """What it prints as JSON."""
        done = self.look(*arguments, "--json")
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def audited(self) -> list[Any]:
        """Entries of the audit, in order."""
        return asyncio.run(
            self.schema.rows(
                "SELECT actor, reason, action, subject::text, session_user_name"
                " FROM resolution.audit ORDER BY id"
            )
        )


async def fill(schema: Schema) -> None:
    """Some tokens of each kind."""
    ledger = PostgresLedger(connector(lambda: schema.worker))
    await ledger.settle(
        Batch(
            (BOUGHT, DEAD),
            (
                living("ok-dead", message_id="order-2"),
                living("ok-refused", message_id="order-3", error_code="Unstorable"),
            ),
            (unreadable("m"),),
        )
    )
    await ledger.close()


@pytest.fixture
def desk(schema: Schema) -> Desk:
    """A database with some buyers."""
    asyncio.run(fill(schema))
    return Desk(schema)


def test_one_buyer_is_found_by_whatever_is_at_hand(desk: Desk) -> None:
    """By each option, and without one, the same token is found, and each look is audited."""
    sha256 = BOUGHT.key.sha256.hex()
    by = {
        "message-id": "order-1",
        "fingerprint": sha256,
        "support-code": SUPPORT_CODE.lower().replace("-", " "),
        "account": "012345678901",
        "license": str(BOUGHT.license_arn),
        "customer": "customer-1",
    }
    for option, text in by.items():
        for arguments in ([f"--{option}", text], [text]):
            found = desk.found(*arguments, "--actor", "ann", "--reason", "ticket 7")
            assert found["by"] == option
            (token,) = found["tokens"]
            assert (token["token_sha256"], token["status"]) == (sha256, "resolved")
            assert (token["support_code"], token["attempts"]) == (SUPPORT_CODE, 1)
            assert token["message_id"] == "order-1"
            assert "nothing here" in token["next"]
            agreements = [each["license_arn"] for each in found["agreements"]]
            assert agreements == [BOUGHT.license_arn] * (
                option in {"account", "license", "customer"}
            )
    entries = desk.audited()
    assert len(entries) == 2 * len(by)
    for actor, reason, action, subject, role in entries:
        assert (actor, reason, action, role) == ("ann", "ticket 7", "lookup", "resolution_operator")
        assert json.loads(subject)["tokens"] == [sha256]
        for name in ("order-1", "012345678901", "customer-1", str(BOUGHT.license_arn)):
            assert name not in subject


def test_a_failed_token_shows_its_attempts_and_replays(desk: Desk) -> None:
    """What happened to it, by whom, and the command that saves it."""
    execute = desk.schema.execute
    asyncio.run(
        execute(
            "INSERT INTO resolution.replay (actor, reason) VALUES ('bob', 'AWS is back');"
            "INSERT INTO resolution.letter_event (letter_id, kind, replay_id)"
            " SELECT id, 'replayed', 1 FROM resolution.dead_letter WHERE message_id = 'order-2'"
        )
    )
    (token,) = desk.found("order-2")["tokens"]
    assert (token["status"], token["error_code"], token["attempts"]) == ("dead", "Timeout", 6)
    (kept,) = token["letters"]
    assert [each["kind"] for each in kept["history"]] == ["failed", "replayed"]
    assert (kept["history"][1]["actor"], kept["history"][1]["reason"]) == ("bob", "AWS is back")
    assert f"dead-letters replay {kept['id']} --reason" in token["next"]

    said = desk.look("order-2").stdout
    assert "dead  settled" in said
    assert "6 attempts" in said
    assert "replayed by bob (replay 1): AWS is back" in said


def test_what_only_a_letter_or_a_note_tells_of_is_found(desk: Desk) -> None:
    """A token without a row in the ledger, and a message that could not be read."""
    found = desk.found(support_code(key("ok-refused").sha256))
    assert found["tokens"] == []
    (kept,) = found["unsettled_letters"]
    assert (kept["error_code"], kept["message_id"]) == ("Unstorable", "order-3")
    assert "the database refused its row" in kept["next"]
    (malformed,) = desk.found("message-m")["malformed"]
    assert malformed["reason"] == "MissingToken: the token is missing"
    assert "malformed  received" in desk.look("message-m").stdout


def test_the_letter_of_a_repeat_leads_to_its_token(desk: Desk) -> None:
    """A message id that only a dead letter bears finds the token that another message settled."""

    async def died_twice() -> None:
        ledger = PostgresLedger(connector(lambda: desk.schema.worker))
        again = living("ok-dead", message_id="order-9")
        await ledger.settle(Batch((), (replace(again, body_sha256=bytes(32)),)))
        await ledger.close()

    asyncio.run(died_twice())
    (token,) = desk.found("--message-id", "order-9")["tokens"]
    assert token["message_id"] == "order-2"
    assert "order-9" in {each["message_id"] for each in token["letters"]}


def test_what_is_not_found_is_told_with_what_waits(desk: Desk, broker: Broker) -> None:
    """Nothing stored ends with 1: the oldest that waits, and that repeats are not kept."""
    asyncio.run(declare(broker.url, topology({"5s": 5.0, "30s": 30.0, "2m": 120.0})))

    async def lease() -> None:
        fleet = PostgresFleet(connector(lambda: desk.schema.worker), initial=10, ceiling=None)
        await fleet.lease(Report(), ReplicaState(in_hand={"live": (1, 75.0)}))
        await fleet.close()

    asyncio.run(lease())
    done = desk.look("--message-id", "order-77", WORKER_AMQP__URL=broker.url)
    assert done.exit_code == 1
    assert "not settled, or never received" in done.stdout
    assert "1 min (that a worker has in hand)" in done.stdout
    assert "0 messages" in done.stdout
    assert "message ids of repeats are not kept" in done.stdout
    done = desk.look("--support-code", "YXQY-JTDC-1QA7", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["found"], told["notes"], told["waiting"]["lanes"]) == (False, [], None)
    assert 70 < told["waiting"]["oldest_seconds"] < 100
    assert "broker" in told["waiting"]["absent"]
    assert [json.loads(entry["subject"])["tokens"] for entry in desk.audited()] == [[], []]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one thing to look for"),
        (["order-1", "--account", "012345678901"], "one thing to look for"),
        (["WGR1-1S60-FHYK"], "misread"),
        (["--account", "1"], "12 digits"),
        (["012345678901", "--reason", "for 012345678901"], "both stay in the audit"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], says: str) -> None:
    """It ends with 2 before anything is asked."""
    done = CliRunner().invoke(app, ["lookup", *arguments])
    assert done.exit_code == 2
    assert says in done.stderr


def test_the_worker_s_role_is_told_who_may(desk: Desk) -> None:
    """As the worker it ends with 69 and names the operator's role."""
    done = desk.look("order-1", WORKER_POSTGRES__DSN=desk.schema.worker)
    assert done.exit_code == 69
    assert "connect as resolution_operator" in done.stderr


def test_nobody_looks_where_nothing_can_be_audited(desk: Desk) -> None:
    """Without the audit nothing is shown."""
    asyncio.run(desk.schema.execute("REVOKE INSERT ON resolution.audit FROM resolution_operator"))
    asyncio.run(
        desk.schema.execute(
            "REVOKE INSERT (actor, reason, action, subject) ON resolution.audit"
            " FROM resolution_operator"
        )
    )
    done = desk.look("order-1")
    assert (done.exit_code, done.stdout) == (69, "")
