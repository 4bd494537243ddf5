"""What somebody on call may look for, and what is advised."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.records import outcome
from worker.core.dead_letters.views import DeadLetter
from worker.core.lookup import BadQuery, By, letter_step, next_step, query, recognised
from worker.core.records import Status

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LETTER = DeadLetter(
    id=7,
    state="open",
    seller="default",
    reason="dead",
    error_code="Timeout",
    error_message="no answer",
    group_key=None,
    message_id="m",
    token_sha256=bytes(32),
    attempts=6,
    occurrences=1,
    replays=0,
    received_at=NOW,
    first_failed_at=NOW,
    failed_at=NOW,
    redeemable_until=NOW + timedelta(hours=1),
)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("arn:aws:license-manager::294406891311:license:l-1", [By.LICENSE]),
        ("012345678901", [By.ACCOUNT]),
        ("WGR1-1S60-FHYJ", [By.SUPPORT_CODE, By.MESSAGE_ID, By.CUSTOMER]),
        ("wgr1 1s60 fhyj", [By.SUPPORT_CODE, By.MESSAGE_ID, By.CUSTOMER]),
        ("e43010e4c07c7c55", [By.FINGERPRINT, By.MESSAGE_ID]),
        ("AB" * 32, [By.FINGERPRINT, By.MESSAGE_ID]),
        ("order-42", [By.MESSAGE_ID, By.CUSTOMER]),
        ("c0ffee00-0000-4000-8000-000000000001", [By.MESSAGE_ID, By.CUSTOMER]),
    ],
)
def test_what_is_looked_for_is_recognised(text: str, kinds: list[By]) -> None:
    """Nobody on the phone has to know which of them it is."""
    assert [each.by for each in recognised(f" {text}\n")] == kinds


@pytest.mark.parametrize(
    ("by", "text", "says"),
    [
        (None, "WGR1-1S60-FHYK", "misread"),
        (None, " ", "1 to 512 characters"),
        (None, "token" * 200, "never a token itself"),
        (By.ACCOUNT, "12345", "12 digits"),
        (By.FINGERPRINT, "abc", "16 to 64 hexadecimal digits"),
        (By.FINGERPRINT, "a" * 65, "16 to 64 hexadecimal digits"),
        (By.SUPPORT_CODE, "order-42", "12 letters and digits"),
    ],
)
def test_what_can_not_be_looked_for_is_named_and_not_repeated(
    by: By | None, text: str, says: str
) -> None:
    """The reason is in words; what was typed may be a token and is not repeated."""
    with pytest.raises(BadQuery, match=says) as refused:
        query(by, text) if by else recognised(text)
    assert not text.strip() or text not in str(refused.value)


def test_a_fingerprint_may_be_a_beginning() -> None:
    """Its bounds hold every SHA-256 that begins so."""
    first, last = query(By.FINGERPRINT, "E43010E4C07C7C55").bounds
    assert first.hex() == "e43010e4c07c7c55" + "0" * 48
    assert last.hex() == "e43010e4c07c7c55" + "f" * 48


@pytest.mark.parametrize(
    ("status", "letters", "says"),
    [
        (Status.RESOLVED, [], "nothing here"),
        (Status.EXPIRED, [LETTER], "begin again"),
        (Status.REJECTED, [], "begin again"),
        (Status.DEAD, [LETTER], "dead-letters replay 7 --reason"),
        (Status.DEAD, [replace(LETTER, state="replaying")], "wait"),
        (Status.DEAD, [replace(LETTER, redeemable_until=NOW)], "lifetime is over"),
        (Status.DEAD, [replace(LETTER, state="discarded")], "lifetime is over"),
        (Status.DEAD, [], "lifetime is over"),
    ],
)
def test_what_to_do_about_a_settled_token(
    status: Status, letters: list[DeadLetter], says: str
) -> None:
    """A token that may still be redeemed is to be replayed; of others the buyer begins again."""
    assert says in next_step(outcome(status), letters, NOW)


@pytest.mark.parametrize(
    ("letter", "says"),
    [
        (replace(LETTER, error_code="Unstorable"), "the database refused its row"),
        (replace(LETTER, reason="malformed", redeemable_until=None), "correct the publisher"),
        (replace(LETTER, state="archived"), "nothing: this dead letter is archived"),
    ],
)
def test_what_to_do_about_a_letter_of_a_token_that_is_not_settled(
    letter: DeadLetter, says: str
) -> None:
    """The remedy is that of its cause."""
    assert says in letter_step(letter, NOW)
