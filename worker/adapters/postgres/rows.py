"""Converts records to the JSON documents that the statements unpack, and rows back to records.

A batch is sent as one JSON parameter, unpacked by `json_to_recordset`. That takes a third of the
client's CPU that an array for each column takes, and no more of the server's. And a text needs no
codec: for arrays the driver would query the server for their types, and for that change a setting
of the session, which a pooler in transaction mode passes on to other clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from worker.core.dead_letters import grouping
from worker.core.records import Outcome, Status, TokenKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.core.records import DeadLetter, Malformed

Row: TypeAlias = dict[str, Any]

_NUL_ESCAPED: Final = rb"\u0000"
_STATUS: Final = {status.value: status for status in Status}


def document(rows: Sequence[Row]) -> str:
    """Rows as JSON that PostgreSQL can store.

    External text may contain what PostgreSQL's text type can't: NUL and lone surrogates become
    U+FFFD. Searching for them before encoding would cost more than the encoding.
    """
    try:
        encoded = orjson.dumps(rows)
    except orjson.JSONEncodeError:
        return orjson.dumps([_storable(row) for row in rows]).decode()
    if _NUL_ESCAPED in encoded:
        return orjson.dumps([_storable(row) for row in rows]).decode()
    return encoded.decode()


def _storable(row: Row) -> Row:
    return {
        name: storable_text(value) if isinstance(value, str) else value
        for name, value in row.items()
    }


def storable_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD."""
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return paired.replace("\0", "\ufffd")


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "\\x" + value.hex()


def _decoded(json: bytes | None) -> str | None:
    return None if json is None else json.decode("utf-8", "replace")


def key_row(key: TokenKey) -> Row:
    """A token's key."""
    return {"seller": key.seller, "token_sha256": _hex(key.sha256)}


def keys_document(keys: Iterable[TokenKey]) -> str:
    """Several tokens' keys."""
    return document([key_row(key) for key in keys])


def outcome_row(outcome: Outcome) -> Row:
    """An outcome, for the tables of outcomes, customers and agreements."""
    key = outcome.key
    return {
        "seller": key.seller,
        "token_sha256": "\\x" + key.sha256.hex(),
        "status": outcome.status,
        "message_id": outcome.message_id,
        "attempts": outcome.attempts,
        "received_at": outcome.received_at,
        "settled_at": outcome.settled_at,
        "product_code": outcome.product_code,
        "customer_aws_account_id": outcome.customer_aws_account_id,
        "customer_identifier": outcome.customer_identifier,
        "license_arn": outcome.license_arn,
        "agreement_id": outcome.agreement_id,
        "offer_type": outcome.offer_type,
        "error_code": outcome.error_code,
        "error_message": outcome.error_message,
        "advice": outcome.advice,
        "first_seen_at": outcome.first_seen,
    }


def letter_row(letter: DeadLetter) -> Row:
    """A dead letter."""
    return {
        "seller": letter.seller,
        "reason": letter.reason,
        "error_code": letter.error_code,
        "error_message": letter.error_message,
        "token_sha256": _hex(letter.token_sha256),
        "body_sha256": _hex(letter.body_sha256),
        "message_id": letter.message_id,
        "correlation_id": letter.correlation_id,
        "lane": letter.lane,
        "metadata": _decoded(letter.metadata),
        "attempts": letter.attempts,
        "received_at": letter.received_at,
        "failed_at": letter.failed_at,
        "redeemable_until": letter.redeemable_until,
        "sealed": _hex(letter.sealed),
        "seal_key_id": letter.seal_key_id,
        "body_bytes": letter.body_bytes,
        "group_key": grouping.key(letter.reason, letter.error_code, letter.error_message),
    }


def malformed_row(message: Malformed) -> Row:
    """A malformed message; its reason is the code and the message."""
    return {
        "body_sha256": _hex(message.body_sha256),
        "message_id": message.message_id,
        "reason": f"{message.code}: {message.reason}",
        "received_at": message.received_at,
    }


def stored_outcomes(rows: Iterable[Any]) -> dict[TokenKey, Outcome]:
    """Outcomes from rows of `settle` or `find_outcomes`, whose columns match `Outcome`'s fields."""
    found = {}
    for seller, sha256, status, *members in rows:
        key = TokenKey(seller, sha256)
        found[key] = Outcome(key, _STATUS[status], *members)
    return found
