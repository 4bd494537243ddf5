"""The results of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """The kind of failure."""

    CONFIGURATION = "configuration"
    UNREACHABLE = "unreachable"
    SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, for output.

    Attributes:
        check: The name of the check.
        detail: What was found; if skipped, why.
        remedy: What to do about a failure.
        notes: Additional information, or the individual faults of a failure.
        cause: The kind of failure.
    """

    check: str
    state: State
    detail: str
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """The check succeeded."""

    detail: str
    notes: tuple[str, ...] = ()


class Skipped(Exception):
    """The check does not apply; the message gives the reason."""


class Failed(Exception):
    """The check failed.

    Attributes:
        detail: What is wrong.
        remedy: What to do about it.
        cause: The kind of failure.
        notes: The individual faults, if there are several.
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
