"""Which failures are one failure."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.dead_letters import grouping
from worker.core.dead_letters.grouping import key, normalised

ID = "5a4b1a6e-1111-2222-3333-444455556666"
PAIRS = [
    ("no answer within 5 s", "no answer within 12.5 s", "no answer within <n> s"),
    (
        f"An internal error has occurred (RequestId: {ID}).",
        "An internal error has occurred (RequestId: 00000000-aaaa-bbbb-cccc-dddddddddddd).",
        "An internal error has occurred (RequestId: <id>).",
    ),
    (
        "User: arn:aws:sts::123456789012:assumed-role/a/b is not authorized",
        "User: arn:aws-us-gov:iam::210987654321:user/c is not authorized",
        "User: <arn> is not authorized",
    ),
    (
        "it's the account 123456789012 of 'one'",
        'it\'s the account 000000000001 of "another one"',
        "it's the account <id> of <text>",
    ),
    (
        "Signature expired: 20261122T032800Z is now earlier than 2026-11-22T03:28:00.5+01:00",
        "Signature expired: 20250101T000000Z is now earlier than 2025-01-01 00:00:00",
        "Signature expired: <time> is now earlier than <time>",
    ),
    ("trace 0xdeadBEEF", "trace 0x01", "trace <id>"),
    (
        "held by Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5+/==",
        "held by c29tZXRoaW5nLWVsc2UtMTIzNDU2",
        "held by <id>",
    ),
    ("Connect call failed ('10.0.0.7', 443)", "Connect call failed ('::1', 80)", None),
    ("two\nlines  here", "two lines here", "two lines here"),
]


@pytest.mark.parametrize(("one", "other", "plain"), PAIRS)
def test_what_varies_is_left_out(one: str, other: str, plain: str | None) -> None:
    """Two messages that differ in ids, numbers, times or quotations alone are one group."""
    assert normalised(one) == normalised(other)
    assert key("dead", "Timeout", one) == key("dead", "Timeout", other)
    if plain is not None:
        assert normalised(one) == plain


@pytest.mark.parametrize(
    "message",
    [
        "The registration token is not valid.",
        "InternalServiceErrorException: try again",
        "the body is not UTF-8 in us-east-1",
        "it can't be read; don't send it",
    ],
)
def test_words_stay(message: str) -> None:
    """What says something, names with a digit and apostrophes included, is left as it is."""
    assert normalised(message) == message


def test_every_part_of_a_failure_tells_groups_apart() -> None:
    """Another reason, another code or other words make another group."""
    whole = ("dead", "Timeout", "no answer")
    others = [("expired", *whole[1:]), ("dead", "Fault", whole[2]), (*whole[:2], "an answer")]
    assert len({key(*each) for each in (whole, *others)}) == 4
    assert key("a", "b", "c") != key("a", "bc", "")


TEXTS = st.text() | st.text(alphabet="ab1 '\"`.:-/=<>nidTZ", max_size=60) | st.text(min_size=900)


@given(TEXTS)
def test_normalised_again_nothing_changes(message: str) -> None:
    """A normal form is one line of at most 200 characters, and its own normal form."""
    plain = normalised(message)
    assert normalised(plain) == plain
    assert len(plain) <= 200
    assert "\n" not in plain


@given(
    st.text(alphabet=string.ascii_letters + string.digits + "+/=_-", min_size=20, max_size=400)
    .map(lambda text: text[:10] + "7" + text[10:])
    .filter(lambda text: text.strip(string.punctuation) == text),
    st.sampled_from(["", "token ", "got: ", "of 12 "]),
)
def test_nothing_like_a_token_survives(secret: str, before: str) -> None:
    """A long word of letters and digits, as a token is, leaves no part of eight of itself."""
    plain = normalised(f"{before}{secret} refused")
    left = re.sub(r"<\w+>", " ", plain)
    assert not any(secret[at : at + 8] in left for at in range(len(secret) - 7))


@given(st.text(), st.text(), st.text())
def test_a_key_is_short_and_the_same_each_time(reason: str, code: str, message: str) -> None:
    """A key is twelve hexadecimal digits, found without remembering it too."""
    found = key(reason, code, message)
    assert re.fullmatch(r"[0-9a-f]{12}", found)
    assert grouping.key.__wrapped__(reason, code, message) == found


def test_keys_stay_what_they_are() -> None:
    """A key is kept in the database: changing how it is made would split every group."""
    assert key("rejected", "InvalidTokenException", "The token 12 is invalid.") == KEY


KEY = "b8a6ef153099"
