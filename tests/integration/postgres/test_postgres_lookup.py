"""One buyer among very many is found by an index, whatever is looked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.schema import connected
from worker.adapters.postgres.lookup.lookup import look_up
from worker.adapters.postgres.operator.session import operating
from worker.adapters.postgres.rows import keys_document
from worker.adapters.postgres.sql import load_sql
from worker.core.lookup import By, query
from worker.core.records import TokenKey
from worker.core.support_code import support_code

if TYPE_CHECKING:
    from harness.schema import Schema

ROWS = 20_000
MANY = f"""
INSERT INTO resolution.ledger (
    seller, token_sha256, status, message_id, product_code, customer_aws_account_id,
    customer_identifier, license_arn, attempts, received_at, settled_at
)
SELECT
    'default', sha256(n::text::bytea), 'resolved', 'order-' || n, 'prod', lpad(n::text, 12, '0'),
    'customer-' || n, 'arn:aws:license:l-' || n, 1, now(), now()
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO resolution.agreement (
    seller, customer_aws_account_id, customer_identifier, product_code, license_arn,
    first_resolved_at, last_resolved_at
)
SELECT
    seller, customer_aws_account_id, customer_identifier, product_code, license_arn, now(), now()
FROM resolution.ledger;
INSERT INTO resolution.malformed_message (body_sha256, message_id, reason, received_at)
SELECT token_sha256, message_id, 'BodyNotJson: no', now() FROM resolution.ledger;
INSERT INTO resolution.dead_letter (
    state, seller, reason, error_code, error_message, token_sha256, body_sha256, message_id, lane,
    attempts, received_at, first_failed_at, failed_at, sealed, seal_key_id, body_bytes
)
SELECT
    'resolved', seller, 'dead', 'Timeout', '', token_sha256, token_sha256, message_id, 'live', 6,
    now(), now(), now(), '', 'k', 1
FROM resolution.ledger;
ANALYZE resolution.ledger, resolution.agreement, resolution.malformed_message,
    resolution.dead_letter
"""
SOUGHT = {
    By.MESSAGE_ID: "order-17777",
    By.FINGERPRINT: "",
    By.SUPPORT_CODE: "",
    By.ACCOUNT: "000000017777",
    By.LICENSE: "arn:aws:license:l-17777",
    By.CUSTOMER: "customer-17777",
}


class Explaining:
    """A session that runs each query and notes which tables its plan reads from end to end."""

    def __init__(self, session: Any, connection: Any) -> None:
        self._session = session
        self._connection = connection
        self.read_through: set[str] = set()
        self.transaction = session.transaction

    async def fetch(self, sql: str, *arguments: object) -> Any:
        """Run it, and explain it if it reads."""
        if "SELECT" in sql and "INSERT" not in sql:
            plan = await self._connection.fetchval(f"EXPLAIN (FORMAT json) {sql}", *arguments)
            self._note(json.loads(plan)[0]["Plan"])
        return await self._session.fetch(sql, *arguments)

    def _note(self, node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan":
            self.read_through.add(node["Relation Name"])
        for each in node.get("Plans", ()):
            self._note(each)


async def test_no_table_is_read_through(schema: Schema) -> None:
    """Of all that may grow large, each is looked into by an index."""
    await schema.execute(MANY)
    (row,) = await schema.rows(
        "SELECT encode(token_sha256, 'hex') AS sha256 FROM resolution.ledger"
        " WHERE message_id = 'order-17777'"
    )
    sought = SOUGHT | {
        By.FINGERPRINT: row["sha256"][:16],
        By.SUPPORT_CODE: support_code(bytes.fromhex(row["sha256"])),
    }
    async with (
        connected(schema.operator) as connection,
        operating(lambda: schema.operator) as session,
    ):
        for by, text in sought.items():
            explaining = Explaining(session, connection)
            found = await look_up(explaining, [query(by, text)], "ann", "")  # type: ignore[arg-type]
            assert [each.message_id for each in found.outcomes] == ["order-17777"], by
            assert [each.letter.message_id for each in found.letters] == ["order-17777"], by
            assert not explaining.read_through & {
                "ledger", "agreement", "malformed_message", "dead_letter",
            }, by  # fmt: skip


async def test_a_worker_reads_no_ledger_through(schema: Schema) -> None:
    """What a worker asks before each call costs the same in a ledger of two thousand tokens."""
    await schema.execute(MANY.replace(str(ROWS), "2000"))
    key = TokenKey("default", bytes(32))
    async with connected(schema.operator) as connection:
        explaining = Explaining(connection, connection)
        await explaining.fetch(load_sql("ledger/find_outcomes"), keys_document([key]))
    assert not explaining.read_through
