"""What `lookup` has found, in words or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.cli.dead_letters.detail import event_words, events
from worker.cli.dead_letters.format_values import (
    bold,
    counted,
    instant,
    printable,
    span,
    wrapped,
)
from worker.cli.printing import print_json as print_result
from worker.core.lookup import (
    NOT_FOUND,
    NOT_FOUND_NEXT,
    REPEATS,
    By,
    letter_step,
    next_step,
)
from worker.core.support_code import support_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.app.waiting import Waiting
    from worker.core.dead_letters.views import DeadLetterDetail
    from worker.core.lookup import Found
    from worker.core.records import Outcome

_LABEL: Final = 13


def print_json(found: Found, waits: Waiting | None) -> None:
    """Print everything as one JSON object."""
    now = datetime.now(UTC)
    print_result(
        {
            "by": found.query.by.value,
            "found": not found.is_nothing,
            "tokens": [_token(found, each, now) for each in found.outcomes],
            "more": found.more,
            "unsettled_letters": [_letter(each, now) for each in found.unsettled],
            "agreements": [asdict(each) for each in found.agreements],
            "malformed": [
                {**asdict(each), "body_sha256": each.body_sha256.hex()} for each in found.unreadable
            ],
            "waiting": None if waits is None else asdict(waits),
            "notes": list(_notes(found)),
            "next": NOT_FOUND_NEXT if found.is_nothing else None,
        }
    )


def _token(found: Found, outcome: Outcome, now: datetime) -> dict[str, Any]:
    letters = found.letters_of(outcome)
    members = {name: value for name, value in asdict(outcome).items() if name != "key"}
    return {
        "token_sha256": outcome.key.sha256.hex(),
        "support_code": support_code(outcome.key.sha256),
        "seller": outcome.key.seller,
        **members,
        "advice": outcome.advice,
        "letters": [_letter(each, now) for each in letters],
        "next": next_step(outcome, [each.letter for each in letters], now),
    }


def _letter(found: DeadLetterDetail, now: datetime) -> dict[str, Any]:
    letter = found.letter
    sha256 = letter.token_sha256
    return {
        "id": letter.id,
        "state": letter.state,
        "reason": letter.reason,
        "error_code": letter.error_code,
        "error_message": letter.error_message,
        "message_id": letter.message_id,
        "token_sha256": None if sha256 is None else sha256.hex(),
        "support_code": letter.support_code,
        "attempts": letter.attempts,
        "occurrences": letter.occurrences,
        "replays": letter.replays,
        "failed_at": letter.failed_at,
        "redeemable_until": letter.redeemable_until,
        "history": [asdict(event) for event in events(found)],
        "next": letter_step(letter, now),
    }


def print_text(found: Found, waits: Waiting | None) -> None:
    """Print everything in words."""
    for line in _lines(found, waits, datetime.now(UTC)):
        typer.echo(line)


def _lines(found: Found, waits: Waiting | None, now: datetime) -> Iterator[str]:
    for outcome in found.outcomes:
        yield from _outcome_lines(found, outcome, now)
    if found.more:
        yield f"(only the last {len(found.outcomes)} are shown)"
    for each in found.unsettled:
        yield from _letter_lines(each, now, indent="")
    for unreadable in found.unreadable:
        yield bold(f"malformed  received {instant(unreadable.received_at)} UTC")
        yield from _facts({"message id": unreadable.message_id, "reason": unreadable.reason})
    for agreement in found.agreements:
        at = f"{instant(agreement.last_resolved_at)} UTC"
        yield bold(f"agreement  last resolved {at}")
        yield from _facts(_members(agreement))
    if waits is not None:
        yield bold(NOT_FOUND)
        yield from _waiting_lines(waits)
        yield from wrapped(NOT_FOUND_NEXT, f"  {'next'.ljust(_LABEL)}", " " * (_LABEL + 2))
    for note in _notes(found):
        yield from wrapped(note, "note: ", "      ")


def _outcome_lines(found: Found, outcome: Outcome, now: datetime) -> Iterator[str]:
    letters = found.letters_of(outcome)
    attempts = counted(outcome.attempts, "attempt")
    yield bold(f"{outcome.status}  settled {instant(outcome.settled_at)} UTC, {attempts}")
    error = ": ".join(filter(None, (outcome.error_code, outcome.error_message)))
    seen = outcome.first_seen
    yield from _facts(
        {
            "support code": support_code(outcome.key.sha256),
            "fingerprint": outcome.key.sha256.hex(),
            "message id": f"{outcome.message_id} (the first submission's)",
            "received": f"{instant(outcome.received_at)} UTC",
            "first seen": None if seen is None else f"{instant(seen)} UTC",
            "error": error,
            "advice": outcome.advice,
            **_members(outcome),
            "seller": outcome.key.seller,
        }
    )
    for each in letters:
        yield from _letter_lines(each, now, indent="  ")
    step = next_step(outcome, [each.letter for each in letters], now)
    yield from _facts({"next": step})


def _members(about: Any) -> dict[str, str | None]:
    return {
        "product": about.product_code,
        "account": about.customer_aws_account_id,
        "customer": about.customer_identifier,
        "licence": about.license_arn,
        "agreement": about.agreement_id,
        "offer type": about.offer_type,
    }


def _letter_lines(found: DeadLetterDetail, now: datetime, indent: str) -> Iterator[str]:
    letter = found.letter
    yield f"{indent}dead letter {letter.id}  {letter.state}, {letter.reason}"
    for event in events(found):
        words = f"{instant(event.at)}  {event_words(event)}"
        yield from wrapped(words, f"{indent}  ", f"{indent}    ")
    if not indent:
        yield from _facts(
            {
                "message id": letter.message_id,
                "support code": letter.support_code,
                "next": letter_step(letter, now),
            }
        )


def _facts(facts: dict[str, str | None]) -> Iterator[str]:
    for label, value in facts.items():
        if value:
            words = printable(value)
            yield from wrapped(words, f"  {label.ljust(_LABEL)}", " " * (_LABEL + 2))


def _waiting_lines(waits: Waiting) -> Iterator[str]:
    oldest = waits.oldest_seconds
    yield from _facts(
        {
            "in the lanes": _count(waits.lanes),
            "elsewhere": f"{_count(waits.retries)} in retry queues, or parked",
            "oldest": "unknown"
            if oldest is None
            else f"{span(oldest)} (that a worker has in hand)"
            if oldest
            else "no worker has any in hand",
            "held up": waits.held,
            **{f"{part} is away": why for part, why in waits.absent.items()},
        }
    )


def _count(messages: int | None) -> str:
    return "unknown" if messages is None else counted(messages, "message")


def _notes(found: Found) -> Iterator[str]:
    if found.query.by in {By.MESSAGE_ID, By.CUSTOMER} and found.is_nothing:
        yield REPEATS
