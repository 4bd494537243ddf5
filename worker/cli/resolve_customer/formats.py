"""Prints the answer to standard output, byte for byte as the AWS CLI does."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, Final

from worker.cli.resolve_customer.faults import CommandFault

if TYPE_CHECKING:
    from collections.abc import Callable


def check(name: str) -> None:
    """Refuse an unknown output format before a call is made.

    Raises:
        CommandFault: There is no format of that name.
    """
    if name not in _WRITERS:
        raise CommandFault(f"Unknown output type: {name}")


def write(title: str, answer: dict[str, Any], output: str, *, query: Any, color: str) -> None:
    """Write an answer to standard output.

    Args:
        title: The operation's name, used as the table's heading.
        answer: The members of the answer.
        output: The name of the format.
        query: The compiled JMESPath expression that filters the answer, or None.
        color: `on`, `off` or `auto`.
    """
    value = answer if query is None else _queried(answer, query)
    write_to(sys.stdout, output, title, value, color)
    sys.stdout.flush()


def write_to(stream: IO[str], output: str, title: str, value: Any, color: str = "off") -> None:
    """Write a value in the named format; `color` is `on`, `off` or `auto`."""
    _WRITERS[output](title, value, color, stream)


def _queried(answer: dict[str, Any], query: Any) -> Any:
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415 - start-up

    try:
        return query.search(answer)
    except JMESPathError as error:
        raise CommandFault(str(error)) from None


def _json(_title: str, value: Any, _color: str, stream: IO[str]) -> None:
    if value != {}:
        _json_line(value, stream)


def _json_line(value: Any, stream: IO[str]) -> None:
    import json  # noqa: PLC0415 - start-up

    stream.write(json.dumps(value, indent=4, ensure_ascii=False) + "\n")


def _text(_title: str, value: Any, _color: str, stream: IO[str]) -> None:
    from worker.cli.resolve_customer import text  # noqa: PLC0415 - start-up

    text.write(value, stream)


def _table(title: str, value: Any, color: str, stream: IO[str]) -> None:
    from worker.cli.resolve_customer import table  # noqa: PLC0415 - start-up

    coloured = stream.isatty() if color == "auto" else color == "on"
    table.write(title, value, stream, coloured=coloured)


def _yaml(_title: str, value: Any, _color: str, stream: IO[str]) -> None:
    if value != {}:
        _yaml_document(value, stream)


def _yaml_stream(_title: str, value: Any, _color: str, stream: IO[str]) -> None:
    if value != {}:
        _yaml_document([value], stream)


def _yaml_document(value: Any, stream: IO[str]) -> None:
    if not isinstance(value, (dict, list)):
        _json_line(value, stream)  # YAML would end a bare scalar with three dots
        return
    from ruamel.yaml import YAML  # noqa: PLC0415 - start-up

    yaml = YAML(typ="safe")
    yaml.encoding = None  # type: ignore[assignment]  # the stream encodes
    yaml.default_flow_style = False
    yaml.dump(value, stream)


def _off(_title: str, _value: Any, _color: str, _stream: IO[str]) -> None:
    """Print nothing: there is only the exit code."""


_WRITERS: Final[dict[str, Callable[[str, Any, str, IO[str]], None]]] = {
    "json": _json,
    "text": _text,
    "table": _table,
    "yaml": _yaml,
    "yaml-stream": _yaml_stream,
    "off": _off,
}
