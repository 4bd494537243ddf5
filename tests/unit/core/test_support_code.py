"""What a buyer reads out on the phone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.core.support_code import ALPHABET, NoSupportCode, bounds, support_code

OK_1 = hashlib.sha256(b"ok-1").digest()
DIGESTS = some.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("token", "code"),
    [("ok-1", "WGR1-1S60-FHYJ"), ("ok-token-of-a-buyer", "YXQY-JTDC-1QA7")],
)
def test_the_code_of_a_token_stays_what_it_is(token: str, code: str) -> None:
    """The web tier shows the same one: these must never change."""
    assert support_code(hashlib.sha256(token.encode()).digest()) == code


@given(DIGESTS)
def test_a_code_names_its_token_and_gives_nothing_else_away(sha256: bytes) -> None:
    """It is the first 55 bits of the SHA-256, in letters that are not confused, with a check."""
    code = support_code(sha256)
    first, last = bounds(code)
    assert first <= sha256 <= last
    assert int.from_bytes(last, "big") - int.from_bytes(first, "big") == 2 ** (256 - 55) - 1
    assert set(code) - {"-"} <= set(ALPHABET)


@pytest.mark.parametrize(
    "written",
    [
        "wgr1-1s60-fhyj",
        "WGR11S60FHYJ",
        " WGR1 1S60 FHYJ ",
        "W-G-R-1-1-S-6-0-F-H-Y-J",
        "WGRI-lS6O-FHYJ",
        "WGR1\N{EN DASH}1S60\N{MINUS SIGN}FHYJ",
    ],
)
def test_a_code_is_read_however_it_is_written(written: str) -> None:
    """Case, spaces, dashes and letters that look like digits make no difference."""
    assert bounds(written) == bounds("WGR1-1S60-FHYJ")


@given(DIGESTS, some.integers(0, 11), some.sampled_from(ALPHABET))
def test_one_misread_digit_is_noticed(sha256: bytes, place: int, digit: str) -> None:
    """So nobody is told that a token was never received since one letter was misheard."""
    code = support_code(sha256).replace("-", "")
    misread = code[:place] + digit + code[place + 1 :]
    if misread != code:
        with pytest.raises(NoSupportCode, match="misread"):
            bounds(misread)


@pytest.mark.parametrize("text", ["", "WGR1-1S60", "WGR1-1S60-FHYJ-0000", "WGR1-1S60-FHY!"])
def test_what_is_no_code_is_not_taken_for_one(text: str) -> None:
    """The reason says how one looks."""
    with pytest.raises(NoSupportCode, match="12 letters and digits"):
        bounds(text)
