"""Where one buyer's token is: what it is looked for by, what is found, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.core.dead_letters.remedies import remedy
from worker.core.records import Status
from worker.core.support_code import NoSupportCode, bounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.core.dead_letters.views import DeadLetter, DeadLetterDetail
    from worker.core.records import Outcome


class By(StrEnum):
    """What a token is looked for by; the value is the option's name."""

    MESSAGE_ID = "message-id"
    FINGERPRINT = "fingerprint"
    SUPPORT_CODE = "support-code"
    ACCOUNT = "account"
    LICENSE = "license"
    CUSTOMER = "customer"


_MOST_CHARS: Final = 512
_LEAST_HEX: Final = 16
_MOST_HEX: Final = 64
_HEX: Final = re.compile(rf"[0-9A-Fa-f]{{{_LEAST_HEX},{_MOST_HEX}}}")
_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_GROUPED: Final = re.compile(r"\w{4}-\w{4}-\w{4}", re.ASCII)


class BadQuery(ValueError):
    """Nothing can be looked for by such a text; the message says why, and does not repeat it."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for.

    Attributes:
        text: The message id, account, licence or customer; empty where bounds are given.
        bounds: The first and last SHA-256 of the tokens that a fingerprint or code stands for.
    """

    by: By
    text: str = ""
    bounds: tuple[bytes, bytes] = (b"", b"")


def query(by: By, text: str) -> Query:
    """What to look for, by what somebody has written.

    Raises:
        BadQuery: It can't be one.
    """
    text = text.strip()
    if not 1 <= len(text) <= _MOST_CHARS:
        raise BadQuery(f"takes 1 to {_MOST_CHARS} characters, and never a token itself")
    match by:
        case By.FINGERPRINT:
            return Query(by, bounds=_of_fingerprint(text))
        case By.SUPPORT_CODE:
            try:
                return Query(by, bounds=bounds(text))
            except NoSupportCode as error:
                raise BadQuery(str(error)) from None
        case By.ACCOUNT if not _ACCOUNT.fullmatch(text):
            raise BadQuery("an AWS account id has 12 digits, leading zeros included")
        case _:
            return Query(by, text)


def _of_fingerprint(text: str) -> tuple[bytes, bytes]:
    if not _HEX.fullmatch(text):
        raise BadQuery(
            f"a fingerprint has {_LEAST_HEX} to {_MOST_HEX} hexadecimal digits: the token's SHA-256"
            " or its beginning"
        )
    first, last = text.ljust(_MOST_HEX, "0"), text.ljust(_MOST_HEX, "f")
    return bytes.fromhex(first), bytes.fromhex(last)


def recognised(text: str) -> tuple[Query, ...]:
    """What a text may be, to be tried in order: a message id and a customer look alike.

    Raises:
        BadQuery: It looks like a support code that was misread, or is empty or too long.
    """
    text = text.strip()
    if text.startswith("arn:"):
        return (query(By.LICENSE, text),)
    if _ACCOUNT.fullmatch(text):
        return (query(By.ACCOUNT, text),)
    if _HEX.fullmatch(text):
        return query(By.FINGERPRINT, text), query(By.MESSAGE_ID, text)
    code: tuple[Query, ...] = ()
    try:
        code = (query(By.SUPPORT_CODE, text),)
    except BadQuery:
        if _GROUPED.fullmatch(text):
            raise
    return *code, query(By.MESSAGE_ID, text), query(By.CUSTOMER, text)


@dataclass(frozen=True, slots=True)
class Agreement:
    """A row of the view `resolution.agreements`."""

    seller: str
    customer_aws_account_id: str | None
    customer_identifier: str | None
    product_code: str
    license_arn: str | None
    agreement_id: str | None
    offer_type: str | None
    first_resolved_at: datetime
    last_resolved_at: datetime


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row of the view `resolution.malformed`."""

    body_sha256: bytes
    message_id: str
    reason: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored of what was looked for.

    Attributes:
        query: By what it was found, or looked for in vain.
        outcomes: Of tokens that are settled, the last settled first.
        letters: Dead letters of these tokens, of this message, and of tokens that are not settled.
        more: Whether there are more outcomes than are shown.
    """

    query: Query
    outcomes: tuple[Outcome, ...] = ()
    letters: tuple[DeadLetterDetail, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    more: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether nothing at all is stored."""
        return not (self.outcomes or self.letters or self.agreements or self.unreadable)

    @property
    def unsettled(self) -> tuple[DeadLetterDetail, ...]:
        """Dead letters of tokens that no outcome here is of."""
        settled = {(each.key.seller, each.key.sha256) for each in self.outcomes}
        return tuple(
            each
            for each in self.letters
            if (each.letter.seller, each.letter.token_sha256) not in settled
        )

    def letters_of(self, outcome: Outcome) -> tuple[DeadLetterDetail, ...]:
        """The dead letters of a settled token."""
        key = (outcome.key.seller, outcome.key.sha256)
        return tuple(
            each for each in self.letters if (each.letter.seller, each.letter.token_sha256) == key
        )


# --- what to do next ---

_RESOLVED: Final = (
    "nothing here: AWS named the buyer, and the answer was sent. If the buyer can't get in, look "
    "in the web tier for this message id or fingerprint; whether the subscription is active, AWS's "
    "own event says"
)
_RESTART: Final = (
    "have the buyer begin again at AWS Marketplace, which gives a fresh token; nothing can be done "
    "with this one"
)
_REPLAYING: Final = "wait: it is being replayed"
_GONE: Final = (
    "the token's lifetime is over: have the buyer begin again at AWS Marketplace, once what failed "
    "is mended"
)
REPEATS: Final = (
    "message ids of repeats are not kept: if this message repeated a token that had been submitted "
    "before, it was answered from that outcome; look for it by fingerprint or support code"
)
NOT_FOUND: Final = "not settled, or never received"
NOT_FOUND_NEXT: Final = (
    "if the oldest that waits is older than this buyer's message, it waits its turn: look at "
    "`resolution-worker status`, and tell the buyer how long. If not, it was never received or is "
    "too old to be kept: look in the web tier whether the broker confirmed it, and have the buyer "
    "begin again at AWS Marketplace"
)


def next_step(outcome: Outcome, letters: Sequence[DeadLetter], now: datetime) -> str:
    """What to do about a settled token."""
    match outcome.status:
        case Status.RESOLVED:
            return _RESOLVED
        case Status.EXPIRED:
            return _RESTART
    savable = next((each for each in letters if _is_savable(each, now)), None)
    if savable is not None:
        return letter_step(savable, now)
    return _RESTART if outcome.status is Status.REJECTED else _GONE


def letter_step(letter: DeadLetter, now: datetime) -> str:
    """What to do about a dead letter."""
    if letter.state == "replaying":
        return _REPLAYING
    helps = remedy(letter.reason, letter.error_code, others_resolved=letter.others_resolved)
    if letter.state != "open":
        return f"nothing: this dead letter is {letter.state}. What most likely helps: {helps}"
    if not _is_savable(letter, now):
        return helps
    return f"{helps}: `resolution-worker dead-letters replay {letter.id} --reason …`"


def _is_savable(letter: DeadLetter, now: datetime) -> bool:
    lives = letter.redeemable_until is not None and letter.redeemable_until > now
    return lives and letter.state in {"open", "replaying"}
