"""Lists of commands are fast and whole: no command's module is imported, no line is cut off."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from worker.cli.main import COMMANDS, app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.cli.lazy import Lazy

GROUPS = [(), ("topology",), ("dead-letters",)]
# What any list of commands may import of this program.
LIGHT = {
    "worker",
    "worker.cli",
    *(f"worker.cli.{name}" for name in ("clean_output", "exits", "lazy", "main", "output")),
    "worker.core",
    "worker.core.credentials",
}
HEAVY = ("aio_pika", "aiobotocore", "asyncpg", "asyncio", "nacl", "orjson", "structlog", "rich")
SHOW = """
import sys
from worker.cli.main import app
try:
    app(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


def commands(table: Mapping[str, Lazy], *before: str) -> Iterator[tuple[str, ...]]:
    """All commands, those of groups included, in words."""
    for name, lazy in table.items():
        if isinstance(lazy.source, str):
            yield (*before, name)
        else:
            yield from commands(lazy.source, *before, name)


@pytest.mark.parametrize("command", ["lookup", "publish", "rate", "dead-letters replay"])
def test_the_help_of_a_command_is_not_slow(command: str) -> None:
    """What is slow to import, and not needed to show the options, is not imported for `--help`."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    slow = {"rich", "structlog", "worker.settings.model"}
    assert set(done.stderr.split()).isdisjoint(slow)


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_a_list_of_commands_imports_none_of_them(group: tuple[str, ...]) -> None:
    """`--help` of a group imports neither a command's module nor a driver."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *group, "--help"], capture_output=True, text=True, check=True
    )
    imported = set(done.stderr.split())
    assert {name for name in imported if name.partition(".")[0] == "worker"} <= LIGHT
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_no_line_of_a_list_is_cut_off(group: tuple[str, ...]) -> None:
    """At 80 columns each command has one line, which is whole."""
    shown = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).stdout
    table = COMMANDS
    for name in group:
        source = table[name].source
        assert not isinstance(source, str)
        table = dict(source)
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert [re.split(" {2,}", line.strip()) for line in lines] == [
        [name, lazy.help] for name, lazy in table.items()
    ]
    assert not any(line.endswith("...") for line in lines)


@pytest.mark.parametrize("command", list(commands(COMMANDS)), ids=" ".join)
def test_each_command_is_found(command: tuple[str, ...]) -> None:
    """What the lists name can be run, and its help fits 80 columns."""
    shown = CliRunner().invoke(app, [*command, "--help"], terminal_width=80)
    assert shown.exit_code == 0, shown.output
    assert command == ("resolve-customer",) or max(map(len, shown.stdout.splitlines())) <= 80
    assert "[[" not in shown.stdout
    assert "Usage: " in shown.stdout or command == ("resolve-customer",)


def test_a_command_that_is_misspelt() -> None:
    """The list of commands serves for suggestions too."""
    shown = CliRunner().invoke(app, ["dead-leters"])
    assert shown.exit_code == 2
    assert "Did you mean 'dead-letters'?" in shown.output
