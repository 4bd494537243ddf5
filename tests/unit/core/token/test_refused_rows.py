"""What is left out of a row that the database refuses, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.records import outcome
from worker.core.records import Outcome, Status
from worker.core.token.refused_rows import (
    KeptAs,
    Part,
    kept_as,
    of_malformed,
    of_outcome,
    outcome_without,
    unstored,
)

BOUGHT = outcome(
    product_code="prod",
    customer_aws_account_id="012345678901",
    customer_identifier="cust",
    license_arn="arn:l",
    agreement_id="agmt",
    offer_type="o",
)
FAILED = outcome(Status.REJECTED, error_code="Gültig", error_message="so")


@pytest.mark.parametrize("given", [BOUGHT, FAILED])
def test_one_part_alone_is_tried_before_many_and_the_record_goes_last(given: Outcome) -> None:
    """So a single value that does not fit costs nothing else, and few tries find it."""
    tries = list(of_outcome(given, has_letter=given is FAILED))
    sizes = [len(parts) for parts in tries if Part.RECORD not in parts]
    assert sizes == sorted(sizes)
    assert all(Part.RECORD in parts for parts in tries[-2:])
    assert len(tries) == len(set(tries)) <= 16


@pytest.mark.parametrize("given", [BOUGHT, FAILED])
def test_what_aws_said_is_never_changed(given: Outcome) -> None:
    """Whatever is left out, status, token, product and account stay."""
    for parts in of_outcome(given, has_letter=given is FAILED):
        left = outcome_without(given, parts)
        for name in ("key", "status", "product_code", "customer_aws_account_id", "settled_at"):
            assert getattr(left, name) == getattr(given, name)
        assert (left.error_code is None) is (given.error_code is None)
        assert left.message_id


def test_only_what_is_there_can_be_left_out() -> None:
    """A customer that AWS names by the identifier alone keeps it: it says who bought."""
    bare = replace(BOUGHT, customer_aws_account_id=None, license_arn=None, offer_type=None)
    named = frozenset[Part]().union(*of_outcome(bare, has_letter=False))
    assert not named & {Part.CUSTOMER_IDENTIFIER, Part.LICENSE_ARN, Part.OFFER_TYPE, Part.METADATA}


def test_what_there_is_of_a_row_in_the_end() -> None:
    """Without its dead letter a message must be kept elsewhere; without its record it is one."""
    assert {kept_as(parts) for parts in of_outcome(BOUGHT, has_letter=False)} == {
        KeptAs.REDUCED,
        KeptAs.DEAD_LETTER,
    }
    assert {kept_as(parts) for parts in of_malformed()} == set(KeptAs)


def test_the_letter_of_what_could_not_be_stored_tells_what_aws_said() -> None:
    """The buyer was told `resolved`; the letter has the cause, and who bought what."""
    told = unstored(BOUGHT, "the database refused a row: CheckViolationError, SQLSTATE 23514")
    assert (told.status, told.error_code) == (Status.DEAD, "Unstorable")
    for words in ("SQLSTATE 23514", "product prod, account 012345678901", "licence arn:l"):
        assert words in (told.error_message or "")
    assert unstored(FAILED, "why") == FAILED
