"""A row of the tables: codes that have one cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.records import FaultKind


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: several codes that have one cause.

    Attributes:
        codes: As AWS, botocore or the worker names them.
        kind: Whose fault it is, where AWS answers with such a code.
        meaning: What it means, in a sentence.
        remedy: What to do about it, without a full stop.
        words: What the message says, in lower case, where a code alone does not tell: such a row
            takes precedence over the code's own.
    """

    codes: tuple[str, ...]
    kind: FaultKind
    meaning: str
    remedy: str
    words: tuple[str, ...] = field(default=())
