"""What must not be written: live tokens by value, credentials by their looks."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters import logs
from worker.adapters.logs.secrets import MAX_TEXT, Secrets, _found
from worker.core.credentials import REDACTED, forms

TOKEN = "canary/+=" + "0123456789abcdef" * 8
# What JSON, repr or percent-encoding would write differently.
ODD = 'canary"\\é%' + "0123456789abcdef" * 8
log = structlog.get_logger()


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Leaves the logging of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure("debug", "json", io.StringIO())
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(params=["json", "console"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Receives lines in either form, while two tokens live."""
    stream = io.StringIO()
    logs.configure("debug", request.param, stream)
    for token in (TOKEN, ODD):
        logs.secrets.add(token)
    yield stream
    for token in (TOKEN, ODD):
        logs.secrets.discard(token)


def bare(token: str) -> dict[str, Any]:
    """Values of our own events that hold a token."""
    return {
        "itself": token,
        "text": f"about {token}, say",
        "bytes": token.encode(),
        "list": [token, {"deep": (token, f"x{token}x")}],
        "key": {token: 1},
        "error": ValueError(token),
        "body": json.dumps({"other": token}),
        "url": "https://127.0.0.1/?x=" + quote(token, safe=""),
        "shown": repr([token]),
    }


@pytest.mark.parametrize("token", [TOKEN, ODD])
@pytest.mark.parametrize("where", sorted(bare("")))
def test_a_live_token_is_hidden_in_our_own_events(
    stream: io.StringIO, where: str, token: str
) -> None:
    """Wherever it stands in an event, and in whatever form."""
    log.info("event", **{where: bare(token)[where]})
    assert "0123456789abcdef" not in stream.getvalue()
    assert REDACTED in stream.getvalue()


@pytest.mark.parametrize("token", [TOKEN, ODD])
def test_a_live_token_is_hidden_in_records_and_tracebacks(stream: io.StringIO, token: str) -> None:
    """In a library's message, its arguments, and the exception with its causes and notes."""
    library = logging.getLogger("some.library")
    library.error("%s failed", token)
    library.error("%r", {"body": [token]})
    try:
        try:
            int(token)
        except ValueError as inner:
            outer = ValueError(f"about {token}")
            outer.add_note(f"see {token}")
            raise outer from inner
    except ValueError:
        library.exception("failed")
        log.exception("failed")
    assert "0123456789abcdef" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) >= 2 + 2 * 3


def test_a_short_token_is_hidden_as_a_whole_value(stream: io.StringIO) -> None:
    """Even one that is too short to be a secret is not logged as a value of its own."""
    logs.secrets.add("ok-1")
    try:
        log.info("event", token="ok-1")
        logging.getLogger("some.library").info("token ok-1")
    finally:
        logs.secrets.discard("ok-1")
    assert "ok-1" not in stream.getvalue()


def test_a_token_is_hidden_as_often_as_it_was_added() -> None:
    """Two messages with one token: the first to end does not uncover the second."""
    secrets = Secrets()
    secrets.add(TOKEN)
    secrets.add(TOKEN)
    secrets.discard(TOKEN)
    assert TOKEN in secrets
    assert secrets.hide(f"a {TOKEN} b") == f"a {REDACTED} b"
    secrets.discard(TOKEN)
    secrets.discard(TOKEN)
    assert TOKEN not in secrets
    assert len(secrets) == 0
    assert TOKEN in secrets.hide(f"a {TOKEN} b")


def test_the_registry_is_bounded_and_says_nothing_of_its_members() -> None:
    """The oldest makes room; kept secrets never do; repr counts only."""
    secrets = Secrets(capacity=2)
    secrets.credentials.keep("lasting secret")
    for token in ("first token", "second token", "third token"):
        secrets.add(token)
    assert len(secrets) == 2
    assert "first token" not in secrets
    assert "third token" in secrets
    assert secrets.hide("a lasting secret") == f"a {REDACTED}"
    assert repr(secrets) == "Secrets(2 live)"


def test_the_registry_is_bounded_in_bytes() -> None:
    """However long tokens are and however wide their characters, they take so much at most."""
    secrets = Secrets(most_bytes=4 * 300)
    names = ["\N{GRINNING FACE}" * 90 + f"{number:010}" for number in range(9)]
    for name in names:
        secrets.add(name)
    assert [name in secrets for name in names] == [False] * 6 + [True] * 3
    secrets.add("x" * 10_000)
    assert [name in secrets for name in (*names, "x" * 10_000)] == [False] * 9 + [True]
    for _ in range(2):
        secrets.add("short")
        secrets.discard("short")
    secrets.add(names[0])
    assert names[0] in secrets


def test_the_longer_of_two_tokens_is_hidden_first() -> None:
    """A token within another leaves nothing of the longer one."""
    secrets = Secrets()
    secrets.add("abcdef")
    secrets.add("abcdefghij")
    assert secrets.hide("x abcdefghij y") == f"x {REDACTED} y"


def test_a_hostile_token_garbles_no_other_text() -> None:
    """One character is no secret, and hiding it everywhere would hide the log."""
    secrets = Secrets()
    for token in ("e", " ", "lev"):
        secrets.add(token)
    assert secrets.hide("levels of nested events") == "levels of nested events"


@pytest.mark.parametrize(
    "text",
    [
        '{"RegistrationToken": "hunter2"}',
        '{"registration_token":"hunter2","version":1}',
        r'{"registration_token":"a\"hunter2"}',
        r'"{\"registration_token\": \"hunter2\"}"',
        "{'RegistrationToken': 'hunter2'}",
        "b'registration_token=hunter2&x=1'",
        "x-amzn-marketplace-token: hunter2",
        '{"registration_token": "hunter2',
        "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=hunter2",
        "{'Authorization': b'Basic hunter2'}",
        "X-Amz-Security-Token: hunter2",
        "amqp://guest:hunter2@127.0.0.1/",
        "amqp://guest:hun@hunter2@127.0.0.1/",
        "amqp://:hunter2@127.0.0.1/",
        "postgresql://u:hunter2@a,b/x",
        "aws_secret_access_key=hunter2",
        "AWS_SECRET_ACCESS_KEY='hunter2'",
        "secret_key: hunter2",
        "aws_session_token = hunter2",
        "connect(user='x', password='hunter2', host='y')",
        "PGPASSWORD=hunter2",
        "WORKER_DEAD_LETTERS__OPEN_KEYS=hunter2",
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    """Known members, headers and addresses lose their secret, whoever wrote them."""
    hidden = Secrets().hide(f"before {text}\nafter")
    assert "hunter2" not in hidden
    assert REDACTED in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith("\nafter")


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "worker"',
        "https://metering.marketplace.us-east-1.amazonaws.com:443/path",
        "connection to amqps://broker.example:5671/ lost",
        "InvalidTokenException: the registration token is invalid",
        "put them into the proxy's address, http://user:password@host:port",
        "correct AWS_SECRET_ACCESS_KEY",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    """Messages an operator needs are left alone."""
    assert Secrets().hide(text) == text


@pytest.mark.parametrize("size", [MAX_TEXT, 3 * MAX_TEXT, 10 * MAX_TEXT, 1 << 24])
def test_a_long_text_is_cut_and_holds_no_part_of_a_token(size: int) -> None:
    """Wherever the cut falls, it shows no piece of a token."""
    secrets = Secrets()
    secrets.add("T" * 500)
    text = ("T" * 500 + "-" * 37) * (size // 537 + 1)
    hidden = secrets.hide(text)
    assert len(hidden) < MAX_TEXT + 100
    assert "TT" not in hidden


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), min_size=4, max_size=20), min_size=1, max_size=5
    ),
    st.data(),
)
def test_no_live_token_survives(tokens: list[str], data: st.DataObject) -> None:
    """Any tokens in any text: none of them is in what is left of it, our own mark aside."""
    secrets = Secrets()
    for token in tokens:
        secrets.add(token)
    parts = data.draw(st.lists(st.sampled_from([*tokens, "a", " ", ": "]), max_size=10))
    hidden = secrets.hide("\0".join(parts))
    for part in hidden.split("\0"):
        assert part == REDACTED or part not in tokens


# What the forms of a secret write differently, and what they don't.
CHARS = st.sampled_from("aA1 \"'\\%+/é\u2028😀\ud800")
PLAIN = st.sampled_from(["0123456789abcdef", "fedcba9876543210x"])
ODD_TOKENS = st.lists(CHARS | PLAIN, min_size=1, max_size=30).map("".join)


@given(st.lists(ODD_TOKENS, min_size=1, max_size=8), st.data())
def test_a_secret_is_found_in_each_of_its_forms(tokens: list[str], data: st.DataObject) -> None:
    """Looking for likely secrets finds the same as looking for each form of each secret."""
    secrets = Secrets()
    for token in tokens:
        secrets.add(token)
    all_forms = {form for token in tokens for form in forms(token)}
    parts = st.sampled_from(sorted(all_forms)) | CHARS | st.sampled_from(["%4", "\\u00", "\\"])
    text = "".join(data.draw(st.lists(parts, max_size=6)))
    found = {form for form in all_forms if form in text and (len(form) >= 4 or form == text)}
    assert _found(secrets._index.likely(text), text) == found


@given(st.lists(st.tuples(ODD_TOKENS, st.booleans()), max_size=30))
def test_what_is_forgotten_leaves_nothing(steps: list[tuple[str, bool]]) -> None:
    """However tokens come and go, just those that are there are looked for."""
    secrets = Secrets(capacity=4)
    for secret, comes in steps:
        (secrets.add if comes else secrets.discard)(secret)
    fresh = Secrets()
    for secret in secrets._live:
        fresh.add(secret)
    assert len(secrets) <= 4
    assert secrets._index._by_piece == fresh._index._by_piece
    assert +secrets._index._sizes == fresh._index._sizes


def test_a_token_that_comes_again_stays_longer() -> None:
    """Of a full registry the token goes that was added longest ago, not the one first seen."""
    secrets = Secrets(capacity=2)
    for token in ("first token", "second token", "first token", "third token"):
        secrets.add(token)
    assert "first token" in secrets
    assert "second token" not in secrets


def test_a_line_costs_no_work_for_each_token() -> None:
    """With thousands of tokens, only those that a line may hold are looked for one by one."""
    secrets = Secrets()
    tokens = [f"{n:020d}+/" + "x" * 400 + f"%{n}é" * 4 for n in range(4_096)]
    tokens += [f"{n}/+%é\\" * 40 for n in range(2_000)]
    for token in tokens:
        secrets.add(token)
    for text in ("%" * 255, "\\" * 255, "%2B%2F" * 50, "\\u00e9" * 50, "x" * 300):
        assert secrets._index.likely(text) == set()
    for form in forms(tokens[-1]):
        assert secrets._index.likely(f"<{form}>") == {tokens[-1]}


@pytest.mark.parametrize("form", range(3))
def test_tokens_made_to_look_alike_hide_the_words_they_may_be_in(form: int) -> None:
    """Too many to look for one by one: no token is shown, nor any word that looks like one."""
    secrets = Secrets()
    secrets.credentials.keep("a lasting secret")
    tokens = [f"{n:08d}+/=é/site-packages/worker/cli{n:08d}" for n in range(4_096)]
    for token in tokens:
        secrets.add(token)
    written = forms(tokens[7])[form]
    hidden = secrets.hide(f"before <{written}>\nin the middle /site-packages/x a lasting secret")
    assert hidden == f"before {REDACTED}\nin the middle /site-packages/x {REDACTED}"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    ["://:", "://a:", "password", "password= ", "\\", '\\"', "authorization:", "a", "@", "'"],
)
def test_hostile_text_is_searched_in_linear_time(unit: str) -> None:
    """Text made to confuse the patterns takes no longer than other text."""
    for start in ("", 'password="', "://a:"):
        Secrets().hide(start + unit * (4 * MAX_TEXT // len(unit)))
