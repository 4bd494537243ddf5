"""How on-call is told, and what on-call says."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from worker.cli.actor import actor
from worker.cli.dead_letters import format_values
from worker.cli.dead_letters.filters import selection_of
from worker.cli.main import app
from worker.core.dead_letters.filters import FILTERS, LetterState, Selection

NOW = datetime(2026, 11, 22, 3, 28, 9, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (1_079, "17 min"),
        (3_600, "1 h"),
        (11_520, "3 h 12 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_span_promises_no_more_than_there_is(seconds: float, told: str) -> None:
    """A length of time is told in its two largest units, rounded down."""
    assert format_values.span(seconds) == told


def test_what_can_be_saved() -> None:
    """How many can be redeemed is told with when the first no longer can."""
    soon = NOW + timedelta(minutes=17, seconds=30)
    assert format_values.redeemable(41, soon, NOW) == "41 redeemable, first expires in 17 min"
    assert format_values.redeemable(0, None, NOW) == "0 redeemable"
    assert [format_values.left(until, NOW) for until in (None, NOW, soon)] == ["no", "no", "17 min"]


@given(st.text())
def test_outside_text_does_nothing_to_a_terminal(text: str) -> None:
    """Whatever a publisher writes comes out as one printable line, with nothing lost."""
    told = format_values.printable(text)
    assert told.isprintable()
    if text.isprintable():
        assert told == text


@given(st.text(max_size=30), st.integers(2, 20))
def test_shortened_texts_fit_and_say_so(text: str, width: int) -> None:
    """A text that is cut has a mark at its end and the width asked for."""
    told = format_values.shortened(text, width)
    assert told == text if len(text) <= width else (len(told), told[-1]) == (width, "…")


def test_into_a_pipe_nothing_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a paragraph is one line, and plain."""
    assert list(format_values.wrapped("word " * 100, "  ")) == ["  " + "word " * 100]
    assert format_values.bold("x") == "x"


def test_filters_become_a_selection() -> None:
    """Every option has its place in the selection; a value given twice counts once."""
    selection = selection_of(
        error=["Timeout", "Timeout", "Fault"],
        since="2026-11-22T03:00:00+01:00",
        until="2026-11-22t03:00:00z",
        seller=["default"],
        redeemable=True,
        state=[LetterState.ARCHIVED],
        message_id=["m"],
        group=[" 0123456789AB "],
        ids=[3],
    )
    assert selection == Selection(
        states=(LetterState.ARCHIVED,),
        ids=(3,),
        groups=("0123456789ab",),
        errors=("Timeout", "Fault"),
        sellers=("default",),
        message_ids=("m",),
        since=datetime(2026, 11, 22, 2, tzinfo=UTC),
        until=datetime(2026, 11, 22, 3, tzinfo=UTC),
        redeemable=True,
    )


@pytest.mark.parametrize("command", ["groups", "list", "replay", "discard"])
def test_each_filter_is_an_option(command: str) -> None:
    """Whatever filter there is, the commands that choose dead letters take it."""
    shown = CliRunner().invoke(app, ["dead-letters", command, "--help"]).stdout
    reads = command in {"groups", "list"}
    for each in FILTERS.values():
        if each.option and (each.narrows or reads):
            assert f"{each.option} " in shown
    assert ("[ID]..." in shown) is not reads


def test_a_time_ago() -> None:
    """A duration counts back from now."""
    since = selection_of(since="2h").since
    assert since is not None
    assert abs(datetime.now(UTC) - timedelta(hours=2) - since) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": "yesterday"}, "--since is neither a time ago"),
        ({"until": "2026-11-22T03:00:00"}, "with its offset"),
        ({"since": "999999999999d"}, "--since is neither"),
        ({"since": "1h", "until": "2h"}, "--since must be earlier"),
        ({"group": ["xyz"]}, "--group takes 12 hexadecimal digits"),
        ({"ids": [0]}, "a whole number from 1"),
        ({"ids": [2**63]}, "a whole number from 1"),
        ({"error": [""]}, "--error must not be empty"),
        ({"message_id": ["\udcff"]}, "--message-id is not UTF-8"),
        ({"seller": [str(n) for n in range(1_001)]}, "at most 1000 values"),
    ],
)
def test_bad_filters_are_refused_in_words(
    options: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can't be understood ends the command with its name, the remedy and code 2."""
    with pytest.raises(typer.Exit) as ended:
        selection_of(**options)
    assert ended.value.exit_code == 2
    assert words in capsys.readouterr().err


def test_the_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who acts is what they say, else who ran sudo, else who is logged in, in printable words."""
    monkeypatch.setenv("SUDO_USER", "sue")
    monkeypatch.setenv("USER", "root")
    assert [actor(" ann\n\x1b[2J"), actor(None), actor("")] == ["ann[2J", "sue", "sue"]
    monkeypatch.delenv("SUDO_USER")
    assert actor(None) == "root"
    monkeypatch.delenv("USER")
    assert actor(None) == getpass.getuser()
    assert len(actor("x" * 500)) == 128


def test_an_actor_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing names anybody the audit says so."""

    def nobody() -> str:
        raise KeyError("uid not found")

    for name in ("SUDO_USER", "USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert actor(None) == "unknown"
