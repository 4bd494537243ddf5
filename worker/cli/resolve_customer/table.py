"""The output format `table`: a value as sections, one below the other; `drawing` draws them."""

from __future__ import annotations

from typing import IO, Any

from worker.cli.resolve_customer.drawing import Section, draw


def write(title: str, value: Any, stream: IO[str], *, coloured: bool) -> None:
    """Write any JSON value; nothing for an empty one.

    Raises:
        ValueError: Rows of one section differ in length.
    """
    sections: list[Section] = []
    if _build(sections, title, value, 0):
        draw(sections, stream, coloured=coloured)


def _build(sections: list[Section], title: str | None, value: Any, indent: int) -> bool:
    if not value:
        return False
    if title is not None:
        sections.append(Section(title, indent))
    if isinstance(value, list):
        _list(sections, title, value, indent)
    elif isinstance(value, dict):
        _mapping(sections, value, indent)
    return True


def _list(sections: list[Section], title: str | None, values: list[Any], indent: int) -> None:
    if isinstance(values[0], dict):
        _records(sections, title, values, indent)
        return
    for value in values:
        if _is_scalar(value):
            sections[-1].add_row([value])
        elif all(_is_scalar(each) for each in value):
            sections[-1].add_row(list(value))
        else:
            _build(sections, None, value, 0)


def _mapping(sections: list[Section], value: dict[str, Any], indent: int) -> None:
    scalars, nested = _members([value])
    if len(scalars) == 1:
        sections[-1].add_row([scalars[0], value[scalars[0]]])
    elif scalars:
        sections[-1].add_headers(scalars)
        sections[-1].add_row([value[name] for name in scalars])
    for name in nested:
        _build(sections, name, value[name], indent + 1)


def _records(
    sections: list[Section], title: str | None, records: list[dict[str, Any]], indent: int
) -> None:
    scalars, nested = _members(records)
    sections[-1].add_headers(scalars)
    for position, record in enumerate(records):
        if position and nested:  # nested sections come in between: start a new one below them
            sections.append(Section(title or "", indent))
            sections[-1].add_headers(scalars)
        sections[-1].add_row([record.get(name, "") for name in scalars])
        for name in nested:
            if name in record:
                _build(sections, name, record[name], indent + 1)


def _members(records: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The names of members with scalar values, and of all others, over all records."""
    members = [(name, _is_scalar(value)) for record in records for name, value in record.items()]
    scalars = {name for name, scalar in members if scalar}
    nested = {name for name, scalar in members if not scalar}
    return sorted(scalars), sorted(nested)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))
