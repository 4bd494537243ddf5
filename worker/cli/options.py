"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import typer

from worker.cli.exits import WRONG_USAGE, failure
from worker.core.durations import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="TOML file of settings; else WORKER_CONFIG.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show what would happen, and change nothing.")
]
ActorOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who you are, for the audit; else your login name."),
]


def seconds(option: str, text: str) -> float:
    """Return the seconds of a span such as `30s`, or end the command with what is wrong with it."""
    try:
        return parse(text).seconds
    except ValueError as error:
        raise failure(f"{option} {error}", WRONG_USAGE) from None


class OptionGroup(NamedTuple):
    """Marks a parameter that is made of several options: `Annotated[T, OptionGroup(make)]`.

    Attributes:
        make: Takes the options by name; the command gets what it returns.
        options: The options; those of the signature of `make` unless given.
    """

    make: Callable[..., Any]
    options: Sequence[inspect.Parameter] | None = None


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the options of each group in place of the parameter that is made of them."""
    groups: dict[str, tuple[Callable[..., Any], Sequence[inspect.Parameter]]] = {}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        marks = getattr(parameter.annotation, "__metadata__", ())
        group = next((mark for mark in marks if isinstance(mark, OptionGroup)), None)
        if group is None:
            shown.append(parameter)
            continue
        options = group.options
        if options is None:
            options = tuple(inspect.signature(group.make, eval_str=True).parameters.values())
        groups[name] = group.make, options
        shown += options

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        for name, (make, options) in groups.items():
            given[name] = make(**{option.name: given.pop(option.name) for option in options})
        command(**given)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in shown]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {}  # typer would look up those of the command
    return with_options
