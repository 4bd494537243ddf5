"""A secret recognised in whatever spelling."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.records import Token
from worker.core.secrecy import Secret, contains, harmless_code, texts, without

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "text",
    [
        "a+b/c",
        "xa+b/cx",
        "a%2Bb/c",
        "a%2bb%2Fc",
        "a%252Bb/c",
        "a+b\\/c",
        "\\u0061+b/c",
        "\\u002561+b/c",
    ],
)
def test_every_spelling_contains_it(text: str) -> None:
    """A token is found as it is, percent-encoded once or twice, and JSON-escaped."""
    assert contains(text, "a+b/c")


@pytest.mark.parametrize(
    "text", ["", "a b/c", "A+B/C", "a+b", "%", "\\", "\\u00", "%zz", "\\ud800"]
)
def test_other_texts_do_not_contain_it(text: str) -> None:
    """Texts that merely look alike, or are broken, don't contain the token and don't raise."""
    assert not contains(text, "a+b/c")


def names_and_texts(value: object) -> list[str]:
    """All texts in a value, as a plain reader finds them."""
    if isinstance(value, dict):
        inner = [text for each in value.values() for text in names_and_texts(each)]
        return [*value, *inner]
    if isinstance(value, list):
        return [text for each in value for text in names_and_texts(each)]
    return [value] if isinstance(value, str) else [json.dumps(value)]


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_all_texts_in_json_are_seen(value: object, escape: object, indent: int | None) -> None:
    """Every name, text and number of a JSON value is seen, however it is laid out."""
    written = json.dumps(value, ensure_ascii=bool(escape), indent=indent).encode()
    assert sorted(texts(written)) == sorted(names_and_texts(value))


def test_texts_of_repeated_names_are_seen() -> None:
    """A value that a later one of the same name replaces is seen all the same."""
    assert list(texts(b'{"a":"one","a":{"b":2},"a":true}')) == [
        "a",
        "one",
        "a",
        "b",
        "2",
        "a",
        "true",
    ]


def test_a_secret_hides_itself() -> None:
    """Neither a token nor a secret shows what it hides when it is printed."""
    assert "ok-canary" not in repr(Secret.of_token("ok-canary"))
    assert "ok-canary" not in repr(Secret.of_body('"ok-canary"'))
    token = Token.of("ok-canary")
    assert "ok-canary" not in f"{token!r} {token}"
    assert token.fingerprint in repr(token)
    assert len(token.fingerprint) == 16


def test_a_part_of_an_unread_body_is_withheld_if_it_tells() -> None:
    """Of a body that can't be read 16 characters in a row are telling, 15 are not."""
    secret = Secret.of_body("...0123456789abcdef...")
    assert secret.withhold("x-0123456789abcdef-x") is None
    assert secret.withhold("x-0123456789abcde-x") == "x-0123456789abcde-x"
    assert secret.withhold("") is None
    assert secret.withhold(None) is None


def test_a_message_loses_the_token_and_its_length() -> None:
    """Words from outside are kept without the token, and at most 1,000 characters of them."""
    assert without("no token ok-1 here", "ok-1") == "no token [token] here"
    assert "ok+1" not in without("no token ok%2B1 here", "ok+1")
    assert "%2B" not in without("no token ok%2B1 here", "ok+1")
    assert without("x" * 2_000, "ok-1") == "x" * 1_000
    assert without("about", "t") == "abou[token]"
    assert "ok-1" not in without("x" * 998 + "ok-1", "ok-1")


def test_a_code_stays_readable_unless_it_tells() -> None:
    """A code is kept, at most 128 characters, unless it contains a token that is no mere word."""
    assert harmless_code("Timeout", "out") == "Timeout"
    assert harmless_code("x" * 500, "t") == "x" * 128
    assert "0123456789abcdef" not in harmless_code("Bad0123456789abcdef", "0123456789abcdef")
