"""Groups of commands that import a command's module only once the command is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command


class Lazy(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        source: `module:name` of a function or a typer.Typer, or the commands of a nested group.
        help: One line for the list of commands, at most 58 characters so that 80 columns hold it.
    """

    source: str | Mapping[str, Lazy]
    help: str


def lazy_group(table: Mapping[str, Lazy]) -> type[TyperGroup]:
    """Return the class of a group with these commands; pass it to `typer.Typer(cls=…)`."""

    class LazyGroup(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.commands: Any = _Commands(table)

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as typer calls it
            return list(table)

        def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
            with formatter.section("Commands"):
                formatter.write_dl([(name, lazy.help) for name, lazy in table.items()])

    return LazyGroup


class _Commands(Mapping[str, Any]):
    """Commands by name, each made when it is looked up."""

    def __init__(self, table: Mapping[str, Lazy]) -> None:
        self._table = table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> Any:
        source, help_line = self._table[name]
        if not isinstance(source, str):
            group = lazy_group(source)
            return group(name=name, help=help_line, no_args_is_help=True, rich_markup_mode=None)
        module, _, attribute = source.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            command, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(name)(command)
        return get_command(found)
