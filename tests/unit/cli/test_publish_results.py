"""The account of what was published, as a person and a program read it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.bulk import Item
from worker.cli.line_results import Accounts
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = Outgoing("resolution", "token", b"{}", "m")


def told(accounts: Accounts, file: str | None) -> str:
    """What a person reads."""
    lines = [accounts.counts(), *accounts.faults(file, "live")]
    return "".join(f"{line}\n" for line in lines)


def test_all_published() -> None:
    """Without failures only the counts are told."""
    accounts = Accounts()
    accounts.confirmed(Item(1, MESSAGE))
    assert accounts.is_complete
    assert told(accounts, None) == "published: 1  not published: 0\n"


def test_failures_are_grouped_by_reason_and_run_together() -> None:
    """Lines are named by number under their reason, neighbours as a range."""
    accounts = Accounts()
    for number in (9, 3, 4, 5):
        accounts.refused(number, "it is bad")
    accounts.failed(Item(7, MESSAGE), "the broker refused it")
    text = told(accounts, None)
    assert "lines 3-5, 9: it is bad\n" in text
    assert "line 7: the broker refused it\n" in text
    assert accounts.as_dict()["failures"] == [
        {"lines": [[3, 5], [9, 9]], "reason": "it is bad"},
        {"lines": [[7, 7]], "reason": "the broker refused it"},
    ]


def test_the_remedy_selects_just_the_lines_that_are_left(tmp_path: Path) -> None:
    """The command that is suggested prints the unpublished lines and no other."""
    file = tmp_path / "to kens"
    file.write_text("".join(f"{number}\n" for number in range(1, 21)))
    accounts = Accounts(stopped="interrupted", resume_from_line=18)
    for number in (3, 4, 9):
        accounts.refused(number, "x")
    command = told(accounts, str(file)).splitlines()[-1]
    selection, _, publishing = command.partition(" | ")
    printed = subprocess.check_output(selection, shell=True, text=True)  # noqa: S602 - ours
    assert printed.split() == ["3", "4", "9", "18", "19", "20"]
    assert publishing == "resolution-worker publish --lane live"


def test_a_million_failures_are_counted_and_not_kept() -> None:
    """However many lines fail, the report stays short of them and counts them all."""
    accounts = Accounts()
    for number in range(1, 1_000_001, 2):
        accounts.refused(number, "x")
    assert accounts.not_published == 500_000
    assert "and 490000 more lines" in told(accounts, "file")
    assert "sed" not in told(accounts, "file")
