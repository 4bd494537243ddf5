"""A secret recognised in whatever spelling."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import secrecy
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


def test_a_message_loses_telling_parts_of_the_token() -> None:
    """Whoever answers may repeat a part of a token: none of 16 characters and more is kept."""
    token = "".join(f"{number:03}" for number in range(200))
    assert without(f"near '{token[30:60]}' and {token[90:120]}!", token) == (
        "near '[token]' and [token]!"
    )
    assert without(token[100:], token) == "[token]"
    assert without(f"x{token[5:21]}", token) == "x[token]"
    assert without(f"x{token[5:20]}", token) == f"x{token[5:20]}"
    escaped = "".join(f"%{ord(each):02X}" for each in token[30:60])
    assert without(f"near {escaped}", token) == "[left out: it contained the token]"
    assert harmless_code(f"Bad{token[30:46]}", token) == "UnknownError"


def test_a_code_stays_readable_unless_it_tells() -> None:
    """A code is kept, at most 128 characters, unless it contains a token that is no mere word."""
    assert harmless_code("Timeout", "out") == "Timeout"
    assert harmless_code("x" * 500, "t") == "x" * 128
    assert "0123456789abcdef" not in harmless_code("Bad0123456789abcdef", "0123456789abcdef")


# --- the same as a plain reader finds, at a bounded cost ---

# What escapes are made of, and what tells.
ESCAPED = st.lists(
    st.sampled_from(
        [
            *("%", "25", "2B", "5c", "%2B", "%25", "%e2", "%82", "+", " ", "\n", "\x00", "é", "a"),
            *("\\", "\\u0025", "\\u005c", "\\/", "\\ud83d", "\\ude00", "u00", "0123456789abcdef"),
        ]
    ),
    max_size=12,
).map("".join)


def all_spellings(text: str) -> list[str]:
    """A text with up to three layers of either kind of escapes taken off, one after another."""
    found = [text]
    for _ in range(3):
        found.append(unquote(found[-1]))
        found.append(secrecy._unescaped(found[-1]))
    return found


def share(text: str, other: str) -> bool:
    """Whether two texts have 16 characters in a row in common."""
    return any(text[at : at + 16] in other for at in range(len(text) - 15))


def token_is_told(token: str, value: str) -> bool:
    """Whether a value tells a token, or how one of the long words of an unfit one begins."""
    meant = {token, token.strip(), unquote(token), unquote(token).replace(" ", "+")} - {""}
    words = secrecy._BLANK.split(token)
    told = meant | {word[:16] for word in words if len(word) >= 16 and word not in meant}
    return any(each in spelling for each in told for spelling in all_spellings(value))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """A secret, and a value that has a piece of it more often than not."""
    secret = draw(ESCAPED)
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(secret))] * 2)))
    return secret, draw(ESCAPED) + secret[first:last] + draw(ESCAPED)


@given(pairs())
def test_a_spelling_is_found_as_a_plain_reader_finds_it(pair: tuple[str, str]) -> None:
    """Stopping where no escape is left overlooks nothing."""
    token, text = pair
    assert contains(text, token) == any(token in each for each in all_spellings(text))


@given(pairs())
def test_a_token_is_told_where_a_plain_reader_finds_it(pair: tuple[str, str]) -> None:
    """A value tells a token if one of its spellings holds it, or the start of a long word of it."""
    token, value = pair
    assert Secret.of_token(token).gives_away(value) == token_is_told(token, value)


@given(pairs())
def test_a_body_is_told_where_a_plain_reader_finds_it(pair: tuple[str, str]) -> None:
    """A value tells a body if it holds all of it, or 16 characters in a row in any spelling."""
    body, value = pair
    known = body.replace("\x00", "").strip()
    told = any(
        share(mine, yours) or (known and known in mine)
        for mine in all_spellings(value)
        for yours in all_spellings(known)
    )
    assert Secret.of_body(body).gives_away(value) == bool(told)


@pytest.mark.parametrize("blank", [" ", "\n", "\x00", "\u2028"])
def test_any_word_of_a_token_tells_by_how_it_begins(blank: str) -> None:
    """However many words an unfit token has: of each long one, 16 characters are telling."""
    secret = Secret.of_token(blank.join(f"{n:08d}abcdefgh-{n}" for n in range(2_000)))
    assert secret.withhold("x-00001999abcdefgh") is None
    assert secret.withhold("x-0000%31999abcdefgh") is None
    assert secret.withhold("x-00001999abcdefg") == "x-00001999abcdefg"
    assert secret.withhold("x-00002000abcdefgh") == "x-00002000abcdefgh"


def test_a_value_is_spelled_once_whatever_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of thousands of words costs no more than one: each layer comes off a value once."""
    secret = Secret.of_token(" ".join(f"{n:016d}" for n in range(3_450)))
    assert len(secret.whole) <= 4
    plainly, spelled = secrecy._unescaped, list[str]()

    def unescaped(text: str) -> str:
        spelled.append(text)
        return plainly(text)

    monkeypatch.setattr(secrecy, "_unescaped", unescaped)
    assert not secret.gives_away("%252525" * 30)
    assert len(spelled) == 3
    spelled.clear()
    assert not secret.gives_away("%" * 255)
    assert len(spelled) == 1


@pytest.mark.parametrize(
    ("body", "searched"),
    [
        ("x" * 65_536, True),
        ("x" * 65_537, False),
        ("%" + "x" * 8_191, True),
        ("%" + "x" * 8_192, False),
        ("\\" + "x" * 8_192, False),
    ],
)
def test_of_a_body_too_long_to_search_nothing_is_echoed(body: str, *, searched: bool) -> None:
    """Of 64 Ki characters, or 8 Ki where there are escapes, more is taken to hold anything."""
    assert Secret.of_body(body).withhold("m-1") == ("m-1" if searched else None)


@pytest.mark.parametrize(("chars", "searched"), [(65_536, True), (65_537, False)])
def test_of_a_token_too_long_to_search_nothing_is_echoed(chars: int, *, searched: bool) -> None:
    """A token longer than any body may be is taken to hold anything."""
    assert Secret.of_token("x" * chars).withhold("m-1") == ("m-1" if searched else None)
