"""The SQL of this package: one statement per file, next to the module that runs it."""

from __future__ import annotations

from importlib import resources
from typing import Final

_HERE: Final = resources.files(__package__)


def load_sql(name: str) -> str:
    """The text of a statement, by its path in this package without `.sql`: `ledger/settle`."""
    return _HERE.joinpath(f"{name}.sql").read_text(encoding="utf-8")
