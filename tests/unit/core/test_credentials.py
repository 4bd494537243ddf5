"""Known credentials are hidden by value, and nothing else is."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.credentials import REDACTED, KnownCredentials

PASSWORD = 'p w/"\\+é-4711'


def knowing(*credentials: str) -> KnownCredentials:
    """What knows these credentials."""
    known = KnownCredentials()
    for each in credentials:
        known.keep(each)
    return known


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        json.dumps(PASSWORD),
        json.dumps({"why": [f"user:{PASSWORD}@host"]}),
        repr(PASSWORD),
        f"amqp://user:{quote(PASSWORD, safe='')}@host/",
        quote(f"http://user:{quote(PASSWORD, safe='')}@proxy:3128", safe=":%/@"),
    ],
)
def test_a_credential_is_hidden_in_each_form(written: str) -> None:
    """As it is, and as URLs, JSON and `repr` write it."""
    hidden = knowing(PASSWORD).hide(f"before {written} after")
    assert "4711" not in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")


@pytest.mark.parametrize(
    ("credential", "text"),
    [
        ("SECRET", "correct AWS_SECRET_ACCESS_KEY"),
        ("ACCESS", "correct AWS_SECRET_ACCESS_KEY"),
        ("password", 'password authentication failed for user "worker"'),
        ("simulator", "http://simulator:8085"),
        ("guest", "amqp://guest@127.0.0.1"),
        ("123456", "account 123456789012"),
        ("tokens", "resolution_tokens_total"),
        ("Zz9-key", "Zz9-keyring"),
    ],
)
def test_what_only_contains_a_credential_stays(credential: str, text: str) -> None:
    """Names, numbers and words that a weak password happens to be part of are readable."""
    assert knowing(credential).hide(text) == text


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=20), min_size=1, max_size=5), st.data()
)
def test_no_long_credential_survives(credentials: list[str], data: st.DataObject) -> None:
    """Whatever stands beside it."""
    known = knowing(*credentials)
    parts = data.draw(st.lists(st.sampled_from([*credentials, "a", "_", " "]), max_size=9))
    hidden = known.hide("".join(parts))
    assert not [each for each in credentials if each in hidden.replace(REDACTED, "\0")]


def test_the_oldest_credentials_are_forgotten() -> None:
    """Rotation brings new ones for as long as the process lives."""
    known = knowing(*(f"rotated-key-{number:06}" for number in range(1000)))
    assert known.hide("rotated-key-000999") == REDACTED
    assert known.hide("rotated-key-000000") == "rotated-key-000000"
