"""Draws sections with `-`, `+` and `|`, with the AWS CLI's widths, orientation and colours."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from typing import IO, Any, Final

_PADDING: Final = 4
_BORDER: Final = 2
_DEFAULT_COLUMNS: Final = 80
_WIDE: Final = "WFA"

_RESET: Final = "\x1b[0m"
_VALUE: Final = "\x1b[1m\x1b[34m"
_EDGE: Final = "\x1b[2m\x1b[33m"


def _length(text: str) -> int:
    """The number of terminal columns that a text takes."""
    return sum(2 if unicodedata.east_asian_width(each) in _WIDE else 1 for each in text)


@dataclass(slots=True)
class Section:
    """A title, optional headers, and rows of equal length."""

    title: str
    indent: int
    headers: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    _widest: list[int] = field(default_factory=list)
    _columns: int | None = None

    def add_headers(self, headers: list[str]) -> None:
        """Set the names of the columns."""
        self.headers = headers
        self._count(headers)

    def add_row(self, values: list[Any]) -> None:
        """Add a row.

        Raises:
            ValueError: Its length differs from that of earlier rows.
        """
        if self._columns is not None and len(values) != self._columns:
            raise ValueError(
                f"Row should have {self._columns} elements, instead it has {len(values)}"
            )
        row = [str(value) for value in values]
        self.rows.append(row)
        self._count(row)

    def _count(self, cells: list[str]) -> None:
        self._columns = len(cells) if self._columns is None else self._columns
        known = self._widest or [0] * len(cells)
        self._widest = [max(wide, _length(cell)) for wide, cell in zip(known, cells, strict=True)]

    @property
    def width(self) -> int:
        """The number of terminal columns it needs, including borders and indentation."""
        around = _BORDER + 2 * self.indent
        cells = sum(wide + _PADDING for wide in self._widest)
        return max(_length(self.title), cells) + around

    def upright(self) -> Section:
        """A single row with headers as one line per column; other sections unchanged."""
        if len(self.rows) != 1 or not self.headers:
            return self
        turned = Section(self.title, self.indent)
        for header, value in zip(self.headers, self.rows[0], strict=True):
            turned.add_row([header, value])
        return turned

    def widths(self, total: int) -> list[int]:
        """The columns' widths, stretched evenly to a total."""
        natural = [wide + _PADDING for wide in self._widest]
        if not natural:
            return []
        factor = total / float(sum(natural))
        scaled = [round(factor * wide) for wide in natural]
        surplus = sum(scaled) - total
        order = range(len(scaled)) if surplus > 0 else range(len(scaled) - 1, -1, -1)
        step = 1 if surplus > 0 else -1
        for turn in range(abs(surplus)):
            scaled[order[turn % len(scaled)]] -= step
        return scaled


class _Pen:
    """Writes lines between the edges of a section; with colours, each write ends with a reset.

    The AWS CLI writes through colorama, which resets after each write, so the number of writes
    matters.
    """

    def __init__(self, stream: IO[str], *, coloured: bool) -> None:
        self._stream = stream
        self._coloured = coloured

    def write(self, text: str) -> None:
        self._stream.write(text + _RESET if self._coloured else text)

    def line(self, text: str, indent: int) -> None:
        edge = self._styled("|", _EDGE) * indent
        for piece in (edge, text, edge, "\n"):
            self.write(piece)

    def value(self, text: str) -> str:
        return self._styled(text, _VALUE)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._coloured else text


def draw(sections: list[Section], stream: IO[str], *, coloured: bool) -> None:
    """Draw all sections, as wide as the widest; upright if the terminal is too narrow."""
    width = max(section.width for section in sections)
    if width > _terminal_columns(stream):
        sections = [section.upright() for section in sections]
        width = max(section.width for section in sections)
    pen = _Pen(stream, coloured=coloured)
    pen.write("-" * width + "\n")
    for section in sections:
        _draw(section, width - 2 * section.indent, pen)
    if coloured and stream.isatty():
        stream.write(_RESET)  # as colorama does at the end of a program in a terminal


def _terminal_columns(stream: IO[str]) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return _DEFAULT_COLUMNS


def _draw(section: Section, width: int, pen: _Pen) -> None:
    if section.title:
        pen.line(_centred(section.title, width, "|"), section.indent)
        if not section.headers and not section.rows:
            pen.line(f"+{'-' * (width - 2)}+", section.indent)
    widths = section.widths(width)
    if section.headers:
        _rule(widths, section.indent, pen)
        cells = zip(section.headers, widths, strict=True)
        pen.line(
            "".join(
                _centred(text, wide, "" if at else "|") for at, (text, wide) in enumerate(cells)
            ),
            section.indent,
        )
    if section.rows and widths:
        _rule(widths, section.indent, pen)
        for row in section.rows:
            cells = zip(row, widths, strict=True)
            pen.line(
                "".join(_left(text, wide, not at, pen) for at, (text, wide) in enumerate(cells)),
                section.indent,
            )
        _rule(widths, section.indent, pen)


def _rule(widths: list[int], indent: int, pen: _Pen) -> None:
    parts = ["-" * (wide - 1 - (not at)) + "+" for at, wide in enumerate(widths)]
    pen.line("+" + "".join(parts), indent)


def _centred(text: str, width: int, left_edge: str) -> str:
    long = _length(text)
    before = left_edge + " " * (width // 2 - long // 2 - 1)
    # Not len(before): with a title that is too long, `before` is shorter than this calculation.
    taken = len(left_edge) + (width // 2 - long // 2 - 1) + long
    return f"{before}{text}{' ' * (width - 1 - taken)}|"


def _left(text: str, width: int, first: bool, pen: _Pen) -> str:  # noqa: FBT001 - a position
    edge = "|" if first else ""
    long = _length(text)
    padding = 2 if width - (long + 2 + len(edge) + 1) >= 0 else 0
    after = width - (len(edge) + padding + long) - 1
    return f"{edge}{' ' * padding}{pen.value(text)}{' ' * after}|"
