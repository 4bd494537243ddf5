"""The simulator's token grammar: what a token's first word makes of it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lab.simulator.agreement import account_of
from worker.lab.simulator.answer import Answer, Result, fault
from worker.lab.simulator.grammar import answer

KEY = "simulator"
WORDS = (
    *("ok", "same", "new", "old", "slow", "seller"),
    *("invalid", "expired", "denied", "throttle", "fail"),
    *("garbage", "empty", "hang", "neither"),
)
ALL = {
    "CustomerIdentifier",
    "ProductCode",
    "CustomerAWSAccountId",
    "LicenseArn",
    "Metadata",
}

any_text = st.text(st.characters(), max_size=40)
word = st.text(st.characters(exclude_characters="-"), min_size=1, max_size=12)


def said(given_answer: Answer) -> Any:
    """The answer's body, read as JSON."""
    return json.loads(given_answer.body)


def code(given_answer: Answer) -> str:
    """The answer's error code."""
    return str(said(given_answer)["__type"])


def test_a_resolved_token_has_members_of_the_shapes_that_aws_gives() -> None:
    """`ok-*` has all five members, each in AWS's own format."""
    members = said(answer("ok-1", 1, KEY))

    assert members.keys() == ALL
    assert re.fullmatch(r"[0-9]{12}", members["CustomerAWSAccountId"])
    assert re.fullmatch(
        r"arn:aws:license-manager::[0-9]{12}:license:l-[0-9a-f]{32}", members["LicenseArn"]
    )
    assert re.fullmatch(r"agmt-[0-9a-z]+", members["Metadata"]["AgreementId"])
    assert len(members["Metadata"]["AgreementId"]) <= 64
    assert re.fullmatch(r"[0-9a-z]{25}", members["ProductCode"])
    assert 1 <= len(members["CustomerIdentifier"]) <= 255


@pytest.mark.parametrize(
    ("token", "absent"),
    [
        ("ok-1", set[str]()),
        ("same-acme-1", set[str]()),
        ("new-1", {"CustomerIdentifier"}),
        ("old-1", {"LicenseArn", "Metadata"}),
        ("slow-1-1", set[str]()),
        ("seller-simulator-1", set[str]()),
    ],
)
def test_each_resolving_word_leaves_out_what_it_says(token: str, absent: set[str]) -> None:
    """A word that resolves gives all members but those it is for leaving out."""
    given_answer = answer(token, 1, KEY)

    assert (given_answer.result, given_answer.status) == (Result.OK, 200)
    assert said(given_answer).keys() == ALL - absent


@pytest.mark.parametrize(
    ("token", "status", "expected", "result"),
    [
        ("invalid-1", 400, "InvalidTokenException", Result.TOKEN),
        ("expired-1", 400, "ExpiredTokenException", Result.TOKEN),
        ("denied-1", 400, "AccessDeniedException", Result.SYSTEMIC),
        ("throttle-1-1", 400, "ThrottlingException", Result.THROTTLED),
        ("fail-1-1", 500, "InternalServiceErrorException", Result.TRANSIENT),
        ("seller-other-1", 400, "InvalidTokenException", Result.TOKEN),
    ],
)
def test_each_refusing_word_gives_its_error(
    token: str, status: int, expected: str, result: Result
) -> None:
    """A word that refuses gives AWS's code and status, and counts as its result."""
    given_answer = answer(token, 1, KEY)

    assert (given_answer.status, code(given_answer)) == (status, expected)
    assert given_answer.result is result


@pytest.mark.parametrize(
    "token",
    [
        "",
        "-",
        "ok",
        "OK-1",
        " ok-1",
        "okay-1",
        "fail-x-1",
        "fail-1",
        "fail--1",
        "fail--1-1",
        "fail-1.5-1",
        "fail-٣-1",
        "fail-1234567890-1",
        "throttle-x-1",
        "throttle-2",
        "slow-fast-1",
        "slow-5",
        "same--1",
        "same-acme",
        "seller-simulator",
        "a marketplace token",
    ],
)
def test_what_the_grammar_does_not_know_is_an_invalid_token(token: str) -> None:
    """Anything that is no word of the grammar, or misspells its number, is invalid."""
    assert code(answer(token, 1, KEY)) == "InvalidTokenException"


def test_the_expiry_of_a_token_does_not_read_like_the_expiry_of_credentials() -> None:
    """`expired-*` speaks of the registration token, as AWS does, not of the security token."""
    message = said(answer("expired-1", 1, KEY))["message"]

    assert "registration token has expired" in message
    assert "security token" not in message


def test_garbage_is_no_json_and_empty_is_an_empty_object() -> None:
    """`garbage-*` and `empty-*` answer 200 with a body that can't be used."""
    garbage, empty = answer("garbage-1", 1, KEY), answer("empty-1", 1, KEY)

    with pytest.raises(json.JSONDecodeError):
        json.loads(garbage.body)
    assert empty.body == b"{}"
    assert {garbage.status, empty.status} == {200}
    assert {garbage.result, empty.result} == {Result.TRANSIENT}


def test_a_hanging_token_is_never_answered() -> None:
    """`hang-*` is delayed without end."""
    assert math.isinf(answer("hang-1", 1, KEY).delay_s)


def test_a_slow_token_waits_its_milliseconds() -> None:
    """`slow-250-*` resolves after a quarter of a second."""
    assert answer("slow-250-1", 1, KEY).delay_s == 0.25


@given(times=st.integers(0, 40), rest=any_text, nth=st.integers(1, 80))
def test_a_token_refused_at_first_resolves_afterwards(times: int, rest: str, nth: int) -> None:
    """`throttle-<n>-*` and `fail-<n>-*` refuse exactly the first n calls."""
    throttled = answer(f"throttle-{times}-{rest}", nth, KEY).result
    failed = answer(f"fail-{times}-{rest}", nth, KEY).result

    assert throttled is (Result.THROTTLED if nth <= times else Result.OK)
    assert failed is (Result.TRANSIENT if nth <= times else Result.OK)


@given(
    first=st.sampled_from(WORDS),
    rest=any_text,
    nth=st.integers(1, 9),
)
def test_every_token_has_one_answer_for_ever(first: str, rest: str, nth: int) -> None:
    """Any text whatever gets an answer, and the same call gets the same answer."""
    token = f"{first}-{rest}"

    assert answer(token, nth, KEY) == answer(token, nth, KEY)
    assert answer(rest, nth, KEY).result in Result


@given(customer=word, one=any_text, other=any_text)
def test_a_customer_is_the_same_under_all_its_tokens(customer: str, one: str, other: str) -> None:
    """`same-<customer>-*` shares account and identifier, and no two tokens share a licence."""
    first = said(answer(f"same-{customer}-{one}", 1, KEY))
    second = said(answer(f"same-{customer}-{other}", 1, KEY))

    for name in ("CustomerAWSAccountId", "CustomerIdentifier", "ProductCode"):
        assert first[name] == second[name]
    assert (first["LicenseArn"] == second["LicenseArn"]) is (one == other)
    assert (first["Metadata"] == second["Metadata"]) is (one == other)


@given(one=any_text, other=any_text)
def test_tokens_of_their_own_share_nothing_but_the_product(one: str, other: str) -> None:
    """Two `ok-*` tokens share neither customer nor licence."""
    first, second = said(answer(f"ok-{one}", 1, KEY)), said(answer(f"ok-{other}", 1, KEY))

    for name in ("CustomerAWSAccountId", "CustomerIdentifier", "LicenseArn", "Metadata"):
        assert (first[name] == second[name]) is (one == other)


@given(account=st.text("0123456789", min_size=12, max_size=12))
def test_a_customer_of_twelve_digits_is_its_own_account(account: str) -> None:
    """`same-012345678901-*` is account 012345678901, its leading zero kept."""
    members = said(answer(f"same-{account}-1", 1, KEY))

    assert members["CustomerAWSAccountId"] == account


@given(customer=any_text)
def test_any_customer_has_an_account_of_twelve_digits(customer: str) -> None:
    """An account is always twelve ASCII digits."""
    assert re.fullmatch("[0-9]{12}", account_of(customer), re.ASCII)


@given(key=st.text("abcXYZ019-_", min_size=1, max_size=12), rest=any_text)
def test_a_sellers_token_resolves_for_that_seller_alone(key: str, rest: str) -> None:
    """`seller-<access key>-*` resolves for its own key, hyphens in it or not, and no other."""
    token = f"seller-{key}-{rest}"

    assert answer(token, 1, key).result is Result.OK
    assert code(answer(token, 1, f"{key}/")) == "InvalidTokenException"


@pytest.mark.parametrize(
    ("error", "status", "message", "result"),
    [
        ("ExpiredTokenException", 403, "", Result.SYSTEMIC),
        ("ExpiredTokenException", 400, "The security token … is expired", Result.SYSTEMIC),
        ("ExpiredTokenException", 400, "Token is expired", Result.TOKEN),
        ("InvalidTokenException", 400, "", Result.TOKEN),
        ("ThrottlingException", 400, "", Result.THROTTLED),
        ("DisabledApiException", 400, "", Result.SYSTEMIC),
        ("ServiceUnavailable", 503, "", Result.TRANSIENT),
    ],
)
def test_an_error_counts_as_whose_fault_it_is(
    error: str, status: int, message: str, result: Result
) -> None:
    """An error counts as the token's, the quota's, a passing one or the caller's own."""
    assert fault(error, message, status).result is result
