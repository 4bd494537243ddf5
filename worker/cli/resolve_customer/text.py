"""The output format `text`: one line per record, with tabs; nested names in capitals."""

from __future__ import annotations

from typing import IO, Any


def write(value: Any, stream: IO[str]) -> None:
    """Write any JSON value."""
    _any(value, stream, None, None)


def _any(value: Any, stream: IO[str], name: str | None, columns: list[str] | None) -> None:
    if isinstance(value, dict):
        _mapping(value, stream, name, columns)
    elif isinstance(value, list):
        _list(value, stream, name)
    else:
        stream.write(f"{value}\n")


def _mapping(value: dict[str, Any], stream: IO[str], name: str | None, columns: Any) -> None:
    scalars, nested = _of_columns(value, columns) if columns is not None else _of_own(value)
    if scalars:
        stream.write("\t".join([*([name.upper()] if name is not None else []), *scalars]) + "\n")
    for member in nested:
        _any(value[member], stream, member, None)


def _of_own(value: dict[str, Any]) -> tuple[list[str], list[str]]:
    ordered = sorted(value)
    scalars = [str(value[member]) for member in ordered if _is_scalar(value[member])]
    return scalars, [member for member in ordered if not _is_scalar(value[member])]


def _of_columns(value: dict[str, Any], columns: list[str]) -> tuple[list[str], list[str]]:
    """The same columns for each record of a list, empty if a record lacks one."""
    return [str(value.get(each, "")) for each in columns], sorted(value.keys() - set(columns))


def _list(value: list[Any], stream: IO[str], name: str | None) -> None:
    if any(isinstance(each, dict) for each in value):
        columns = _columns(value)
        for each in value:
            _any(each, stream, name, columns)
        return
    scalars = [each for each in value if _is_scalar(each)]
    if scalars:
        _scalars(scalars, stream, name)
    for each in value:
        if not _is_scalar(each):
            _any(each, stream, name, None)


def _columns(records: list[Any]) -> list[str]:
    return sorted(
        {member for record in records for member, value in record.items() if _is_scalar(value)}
    )


def _scalars(values: list[Any], stream: IO[str], name: str | None) -> None:
    if name is None:
        stream.write("\t".join(map(str, values)) + "\n")
        return
    for value in values:
        stream.write(f"{name.upper()}\t{value}\n")


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))
