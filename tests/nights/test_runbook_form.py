"""Runbooks have one form, there is one for each alert, and each alert of a night has been there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.nights import nights, tickets  # noqa: F401 - they add themselves to the list
from harness.nights.faster import shorter, yaml
from harness.nights.night import NIGHTS
from harness.nights.runbook import FOLDER, SECTIONS, ByHand, Command, matches, runbook, steps

MOST_COMMANDS = 4
PAGES = sorted(path.stem for path in FOLDER.glob("Resolution*.md"))


def alerts() -> dict[str, Any]:
    """The deployed alerts by name."""
    groups = yaml("prometheus/alerts.yml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    """A page's name is its alert's."""
    assert set(PAGES) == set(alerts())


@pytest.mark.parametrize("alert", PAGES)
def test_a_page_has_its_parts_and_few_commands(alert: str) -> None:
    """A page says meaning, impact, commands, end and what not to do; four commands at most."""
    page = runbook(alert)
    assert tuple(page.sections) == SECTIONS
    assert all(text.strip() for text in page.sections.values())
    for case in page.cases or [""]:
        found = page.commands(case)
        assert 1 <= len(found) <= MOST_COMMANDS
        assert all(command.who for command in found)


def test_each_page_is_carried_out_in_a_night() -> None:
    """No page is left that no night has tried, and no case in it."""
    cases = {(alert, case) for alert in PAGES for case in runbook(alert).cases or [""]}
    assert {(night.alert, night.case) for night in NIGHTS} == cases


def test_a_night_that_pages_breaks_what_pages() -> None:
    """A night has one page if its alert is one, and none if it is a ticket."""
    for night in NIGHTS:
        severity = alerts()[night.alert]["labels"]["severity"]
        assert night.pages == {"page": 1, "ticket": 0}[severity], night.name


def test_the_first_page_leads_to_all_others() -> None:
    """The page before them links to each."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\((Resolution\w+)\.md\)", text)) == set(PAGES)


def test_placeholders_stand_for_what_differs() -> None:
    """A gap in a line stands for some words, and on a line of its own for any lines."""
    assert matches("…\nrate  …/s\n…", "queue 1\nrate  10/s\n")
    assert matches("rate  …/s\n…", "rate  10/s\nqueue 1\n")
    assert not matches("rate  …/s", "rate  10/s\nqueue 1\n")
    assert not matches("rate  …/s\n…", "queue 1\nrate  10/s\n")


def test_steps_are_read_with_who_does_them() -> None:
    """A command belongs to the identity named last before it."""
    text = "As `broker`, there:\n\n```sh\na\n```\n\n```text\nb\n```\n\nBy hand: c.\n"
    command, hand = steps(text)
    assert command == Command("broker", "a", "b\n")
    assert isinstance(hand, ByHand)
    with pytest.raises(AssertionError, match="no output"):
        steps("```sh\na\n```\n")


def test_durations_become_shorter() -> None:
    """A duration of Prometheus's is divided."""
    assert shorter("1h30m", 60) == "90000ms"
    assert shorter("30s", 60) == "500ms"
