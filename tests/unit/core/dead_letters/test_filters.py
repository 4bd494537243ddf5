"""Which letters are meant, and how that is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.dead_letters.filters import FILTERS, LetterState, Selection, ValueKind
from worker.core.dead_letters.remedies import remedy
from worker.core.dead_letters.views import PageCursor, read_cursor
from worker.core.records import LetterReason

NOW = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)


def test_without_filters_it_is_what_is_open() -> None:
    """A selection chooses open letters, and that alone does not narrow it."""
    selection = Selection()
    assert selection.described() == {"states": ["open"]}
    assert not selection.is_narrowed
    assert not replace(selection, states=(LetterState.DISCARDED,)).is_narrowed


@pytest.mark.parametrize("name", sorted(FILTERS.keys() - {"states"}))
def test_each_filter_narrows_and_is_named(name: str) -> None:
    """Every filter but the state leaves dead letters out, and is in the audit and in the words."""
    some: dict[ValueKind, Any] = {ValueKind.INSTANT: NOW, ValueKind.FLAG: True, ValueKind.ID: (1,)}
    selection = Selection(**{name: some.get(FILTERS[name].kind, ("x",))})
    assert selection.is_narrowed
    assert set(selection.described()) == {"states", name}
    assert name.removesuffix("s").replace("_", " ") in selection.words()


def test_in_words() -> None:
    """Filters are told together, alternatives with an or, instants in UTC."""
    selection = Selection(reasons=("dead", "parked"), ids=(7,), since=NOW, redeemable=True)
    assert selection.words() == (
        "state open, id 7, reason dead or parked, since 2026-11-22T03:28:00.000+00:00, redeemable"
    )


@given(st.text(min_size=1).filter(lambda text: len(text) > 3))
def test_a_message_id_stays_out_of_the_audit(message_id: str) -> None:
    """Of a message id, which may hold anything, only a fingerprint is told."""
    selection = Selection(message_ids=(message_id,))
    told = json.dumps(selection.described()["message_ids"])
    assert told.startswith('["sha256:')
    assert len(told) == len('["sha256:"]') + 16


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive here
    st.integers(1, 2**63 - 1),
)
def test_a_place_survives_being_passed_on(failed_at: datetime, number: int) -> None:
    """Where a page ended is read back to the microsecond."""
    place = PageCursor(failed_at, number)
    assert read_cursor(f" {place.text}\n") == place


@pytest.mark.parametrize("text", ["", "7", "1-", "-1-2", "1-2-3", "9" * 20 + "-1", f"1-{2**63}"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """Anything else is refused in words that do not repeat it."""
    with pytest.raises(ValueError, match="does not say where a page ended") as refusal:
        read_cursor(text)
    assert not text or text not in str(refusal.value)


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("rejected", "InvalidTokenException", "WORKER_AWS__ROLE_ARN"),
        ("expired", "LifetimeExceeded", "the buyer must click through again"),
        ("expired", "ExpiredTokenException", "the buyer must click through again"),
        ("dead", "Timeout", "WORKER_AWS__TIMEOUT"),
        ("dead", "ConnectionFault", "WORKER_AWS__ENDPOINT_URL"),
        ("dead", "Http404", "WORKER_AWS__ENDPOINT_URL"),
        ("dead", "AccessDeniedException", "`aws-marketplace:ResolveCustomer`"),
        ("dead", "ExpiredTokenException", "credentials"),
        ("dead", "UnrecognizedClientException", "credentials"),
        ("dead", "DisabledApiException", "WORKER_AWS__REGION"),
        ("dead", "InternalServiceErrorException", "health dashboard"),
        ("malformed", "TokenPercentEncoded", "exactly once"),
        ("malformed", "MetadataContainsToken", "correct the publisher"),
        ("malformed", "BodyNotJson", "correct the publisher"),
        ("parked", "DeliveryLimit", "replay"),
        ("of a later version", "Whatever", "dead-letters show"),
    ],
)
def test_the_remedy(reason: str, code: str, words: str) -> None:
    """Each sort of failure has a remedy that names what to turn to."""
    assert words in remedy(reason, code)


@given(st.sampled_from(LetterReason), st.text())
def test_there_is_always_a_remedy(reason: LetterReason, code: str) -> None:
    """Whatever the code, something is said, in one sentence without its full stop."""
    found = remedy(reason.value, code)
    assert found
    assert not found.endswith(".")
