"""The forms in which the AWS CLI prints an error; `legacy` is the default here."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPTION: Final = "--cli-error-format"
VARIABLE: Final = "AWS_CLI_ERROR_FORMAT"
LEGACY: Final = "legacy"
FORMATS: Final = ("legacy", "enhanced", "json", "yaml", "text", "table")


def chosen(arguments: Sequence[str]) -> str:
    """The form that was asked for, by the option or else by the environment.

    Asked before the options are parsed, which may be what fails; an unknown one counts as `legacy`.
    """
    found = os.environ.get(VARIABLE) or LEGACY
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == OPTION:
            found = value if equals else next(iter(arguments[at + 1 :]), found)
    return found if found in FORMATS else LEGACY


def write(form: str, code: str, message: str) -> None:
    """Write an error to standard error.

    Args:
        form: One of `FORMATS`.
        code: The service's code, or one for what kept the call from being made.
        message: As the form `legacy` prints it.
    """
    _WRITERS[form](code, message, sys.stderr)


def _legacy(_code: str, message: str, stream: IO[str]) -> None:
    stream.write(f"\n{message}\n")


def _enhanced(code: str, message: str, stream: IO[str]) -> None:
    # An error of the service names its code itself.
    named = (
        message if "An error occurred (" in message else f"An error occurred ({code}): {message}"
    )
    stream.write(f"\naws: [ERROR]: {named}\n")


def _structured(output: str) -> Callable[[str, str, IO[str]], None]:
    def write_so(code: str, message: str, stream: IO[str]) -> None:
        from worker.cli.resolve_customer import formats  # noqa: PLC0415 - start-up

        error: dict[str, Any] = {"Code": code, "Message": message}
        formats.write_to(stream, output, "error", error)

    return write_so


_WRITERS: Final[dict[str, Callable[[str, str, IO[str]], None]]] = {
    "legacy": _legacy,
    "enhanced": _enhanced,
    **{name: _structured(name) for name in FORMATS[2:]},
}
