"""What is stored of a row that the database refuses for its data: the same with less in it.

A refusal says that something of a row does not fit (an encoding, a constraint or a trigger that
somebody added, a limit), and not always what. So the row is tried again without one part at a time,
then without more and more of them, the least valuable first, until the database takes it. What AWS
said of the token, and who bought what, is never changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.core.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.core.records import DeadLetter, Malformed, Outcome

UNSTORABLE: Final = "Unstorable"
"""The error code of a dead letter whose outcome could not be stored."""

_UNKNOWN_CODE: Final = "UnknownError"


class Part(StrEnum):
    """What may be left out, the least valuable first; the value is the name in the log."""

    OFFER_TYPE = "offer_type"
    METADATA = "metadata"
    AGREEMENT_ID = "agreement_id"
    CORRELATION_ID = "correlation_id"
    ERROR = "error_message"
    MESSAGE_ID = "message_id"
    CUSTOMER_IDENTIFIER = "customer_identifier"
    LICENSE_ARN = "license_arn"
    BOOKS = "customer and agreement"
    CLOSING = "closing of dead letters"
    LETTER = "dead letter"
    RECORD = "record"
    """The row in the ledger or among the malformed messages: then a dead letter is all there is."""


class KeptAs(StrEnum):
    """What there is of a refused row in the end; a label of `resolution_rows_refused_total`."""

    REDUCED = "reduced"
    DEAD_LETTER = "dead_letter"
    PARKED = "parked"


Parts = frozenset[Part]


def kept_as(left_out: Parts) -> KeptAs:
    """What there is of a row that was stored without these parts."""
    if Part.LETTER in left_out:
        return KeptAs.PARKED
    return KeptAs.DEAD_LETTER if Part.RECORD in left_out else KeptAs.REDUCED


def of_outcome(outcome: Outcome, *, has_letter: bool) -> Iterator[Parts]:
    """What to leave out of an outcome's rows, one try after another."""
    data = [part for part, value in _values(outcome) if value is not None]
    if has_letter:
        data = sorted({*data, *_LETTER_DATA, Part.ERROR}, key=list(Part).index)
    yield from _tries(data, (Part.LETTER,) if has_letter else (Part.BOOKS, Part.CLOSING))


def of_malformed() -> Iterator[Parts]:
    """What to leave out of the rows of a malformed message, one try after another."""
    return _tries(_LETTER_DATA, (Part.LETTER,))


_LETTER_DATA: Final = (Part.METADATA, Part.CORRELATION_ID, Part.MESSAGE_ID)


def _values(outcome: Outcome) -> Iterator[tuple[Part, str | None]]:
    account = outcome.customer_aws_account_id
    yield Part.OFFER_TYPE, outcome.offer_type
    yield Part.AGREEMENT_ID, outcome.agreement_id
    yield Part.MESSAGE_ID, outcome.message_id
    yield Part.CUSTOMER_IDENTIFIER, outcome.customer_identifier if account else None
    yield Part.LICENSE_ARN, outcome.license_arn


def _tries(data: Sequence[Part], others: Sequence[Part]) -> Iterator[Parts]:
    """Data first, then the other rows beside the record, and last the record itself."""
    parts = [*data, *others]
    yield from (frozenset((part,)) for part in parts)
    yield from (frozenset(parts[:count]) for count in range(2, len(parts) + 1))
    yield frozenset((Part.RECORD,))
    yield frozenset((*data, Part.RECORD))


def outcome_without(outcome: Outcome, parts: Parts) -> Outcome:
    """An outcome without these parts of it."""
    left_out: dict[str, Any] = {part.value: None for part, _ in _values(outcome) if part in parts}
    if Part.MESSAGE_ID in parts:
        left_out["message_id"] = _stand_in(outcome.message_id)
    if Part.ERROR in parts and outcome.error_code is not None:
        left_out |= {"error_message": None, "error_code": _plain(outcome.error_code)}
    return replace(outcome, **left_out)


def letter_without(letter: DeadLetter, parts: Parts) -> DeadLetter:
    """A dead letter without these parts of it."""
    return replace(
        letter,
        metadata=None if Part.METADATA in parts else letter.metadata,
        correlation_id=None if Part.CORRELATION_ID in parts else letter.correlation_id,
        message_id=_stand_in(letter.message_id) if Part.MESSAGE_ID in parts else letter.message_id,
        error_message="" if Part.ERROR in parts else letter.error_message,
        error_code=_plain(letter.error_code) if Part.ERROR in parts else letter.error_code,
    )


def malformed_without(message: Malformed, parts: Parts) -> Malformed:
    """A malformed message without these parts of it."""
    if Part.MESSAGE_ID not in parts:
        return message
    return replace(message, message_id=_stand_in(message.message_id))


def _stand_in(message_id: str) -> str:
    """In place of a message id: the same for the same one each time."""
    digest = hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()
    return f"refused-{digest[:32]}"


def _plain(code: str) -> str:
    return code if code.isascii() and code.isprintable() else _UNKNOWN_CODE


def unstored(outcome: Outcome, refusal: str) -> Outcome:
    """What the dead letter says of an outcome that has no row in the ledger.

    A resolved one is given up as dead *in the letter alone*: its buyer is told that it is resolved,
    and the letter has what AWS said, in case that nobody replays it in time.
    """
    if outcome.status is not Status.RESOLVED:
        return outcome
    said = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("product", outcome.product_code),
            ("account", outcome.customer_aws_account_id),
            ("customer", outcome.customer_identifier),
            ("licence", outcome.license_arn),
        )
        if value
    )
    return replace(
        outcome,
        status=Status.DEAD,
        error_code=UNSTORABLE,
        error_message=f"{refusal}; AWS resolved the token ({said}), and the buyer was told so",
    )
