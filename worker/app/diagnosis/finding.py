"""What a check can come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """What kind of thing is wrong where a check failed."""

    CONFIGURATION = "configuration"
    UNREACHABLE = "unreachable"
    SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        check: The name of the check.
        detail: What was found; where skipped, why.
        remedy: What to do about a failure.
        notes: What else is worth knowing, or the single faults of a failure.
        cause: What kind of failure it is.
    """

    check: str
    state: State
    detail: str
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """All is well, with what was found."""

    detail: str
    notes: tuple[str, ...] = ()


class Skipped(Exception):
    """There is nothing to check here; the message says why."""


class Failed(Exception):
    """Something is not well.

    Attributes:
        detail: What.
        remedy: What to do about it.
        cause: What kind of thing is wrong.
        notes: The single faults, where there are several.
    """

    def __init__(
        self,
        detail: str,
        remedy: str,
        cause: Cause = Cause.SETUP,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.cause = cause
        self.notes = notes
