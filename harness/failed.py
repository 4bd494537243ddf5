"""Tokens that failed some time ago, written as a worker writes them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.adapters.sealing import Sealer
from worker.core.dead_letters import records
from worker.core.dead_letters.records import Sealed
from worker.core.records import Batch, DeadLetter, Outcome, Status, Submission
from worker.core.timestamps import format_time
from worker.core.token.incoming import Incoming, envelope
from worker.core.token.submissions import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_BATCH = 500


def id_of(token: str) -> str:
    """A message id that tells tests, but not the worker, which token it is about."""
    return "m." + re.sub("[- ]", ".", token)


def message_of(token: str, received_at: datetime, **properties: str | None) -> Incoming:
    """The message that a token came in, under `id_of` the token unless told otherwise."""
    members = {"registration_token": token, "received_at": format_time(received_at)}
    body = orjson.dumps({"version": 1, **members, "metadata": {"session": "s"}})
    return Incoming(body, properties.pop("message_id", id_of(token)), **properties)  # type: ignore[arg-type] # all are texts


def failure_of(
    incoming: Incoming,
    sealer: Sealer,
    failed_at: datetime,
    *,
    status: Status = Status.REJECTED,
    code: str = "InvalidTokenException",
) -> tuple[Outcome, DeadLetter]:
    """What a worker writes of a token that failed."""
    submission, _ = parse(incoming, failed_at)
    assert isinstance(submission, Submission)
    submission = replace(submission, first_seen=submission.received_at)
    outcome = Outcome(
        key=submission.key,
        status=status,
        message_id=submission.message_id,
        attempts=1,
        received_at=submission.received_at,
        settled_at=failed_at,
        error_code=code,
        error_message="the registration token is not valid for this seller",
        first_seen=submission.first_seen,
    )
    sealed = Sealed(sealer.key_id, sealer.seal(envelope(incoming)))
    return outcome, records.of_outcome(outcome, submission, incoming, "live", sealed)


def parked_of(incoming: Incoming, sealer: Sealer, now: datetime) -> DeadLetter:
    """What a worker writes of a message that the broker gave up."""
    sealed = Sealed(sealer.key_id, sealer.seal(envelope(incoming)))
    return records.of_parked(incoming, sealed, now)


async def fail(
    dsn: str,
    seal_key: str,
    tokens: Sequence[str],
    *,
    age: timedelta = timedelta(minutes=5),
    status: Status = Status.REJECTED,
    reply_to: str | None = None,
) -> None:
    """Let tokens have failed a minute ago, one after another, received so long ago."""
    now = datetime.now(UTC)
    sealer = Sealer(seal_key)
    messages_ = [
        message_of(token, now - age, reply_to=reply_to, correlation_id=f"c-{n}")
        if reply_to
        else message_of(token, now - age)
        for n, token in enumerate(tokens)
    ]
    failures = [
        failure_of(each, sealer, now - timedelta(seconds=60, microseconds=-n), status=status)
        for n, each in enumerate(messages_)
    ]
    await settle(dsn, failures)


async def settle(dsn: str, failures: Sequence[tuple[Outcome | None, DeadLetter]]) -> None:
    """Write outcomes and letters as a worker does."""
    ledger = PostgresLedger(connector(lambda: dsn))
    try:
        for start in range(0, len(failures), _BATCH):
            batch = failures[start : start + _BATCH]
            outcomes = tuple(outcome for outcome, _ in batch if outcome is not None)
            await ledger.settle(Batch(outcomes, tuple(letter for _, letter in batch)))
    finally:
        await ledger.close()


def sibling(incoming: Incoming, message_id: str) -> Incoming:
    """Another submission of the same token."""
    return replace(incoming, message_id=message_id)


def sha(token: str) -> bytes:
    """Under which a token stands in the ledger."""
    return hashlib.sha256(token.encode()).digest()
