"""A row of the tables of causes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.records import FaultKind, Status


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, with all codes that are reported for it.

    Attributes:
        codes: Error codes of AWS, botocore or the worker.
        kind: Whose fault it is if AWS answers with such a code.
        meaning: What it means, in a sentence.
        remedy: What to do about it, without a full stop.
        words: Lower-case texts, one of which the message must contain, where the code alone is
            ambiguous: such a row takes precedence over the one without words, which must be there
            too, for it has the kind.
        status: What the token is settled as, where the fault is the token's.
    """

    codes: tuple[str, ...]
    kind: FaultKind
    meaning: str
    remedy: str
    words: tuple[str, ...] = field(default=())
    status: Status | None = None
