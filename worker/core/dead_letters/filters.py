"""Which dead letters are meant: filters that compose, each narrowing what the others leave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class LetterState(StrEnum):
    """What is being done about a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of dead letters. Of several values of one filter any will do; empty: all.

    Attributes:
        states: Only the open ones unless told otherwise.
        errors: Error codes.
        groups: See `grouping.key`.
        since: Failed last at this instant or after it.
        until: Failed last before this instant.
        redeemable: Only those whose token could still be redeemed.
    """

    states: tuple[LetterState, ...] = (LetterState.OPEN,)
    ids: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    sellers: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    redeemable: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter but the state leaves letters out."""
        return any(name != "states" for name, _ in self._filters())

    def described(self) -> dict[str, object]:
        """The filters that are in force, for the audit: it names no token and no customer.

        A message id may be anything a publisher thought of, so its fingerprint stands for it.
        """
        return dict(self._filters())

    def words(self) -> str:
        """The filters that are in force, for a person: `state open, reason dead or parked`."""
        return ", ".join(_words(name, value) for name, value in self._filters())

    def _filters(self) -> Iterator[tuple[str, object]]:
        for name in ("states", "ids", "groups", "reasons", "errors", "sellers"):
            if values := getattr(self, name):
                yield name, [v if isinstance(v, int) else str(v) for v in values]
        if self.message_ids:
            yield "message_ids", [_fingerprint(each) for each in self.message_ids]
        for name in ("since", "until"):
            if (instant := getattr(self, name)) is not None:
                yield name, instant.astimezone(UTC).isoformat(timespec="milliseconds")
        if self.redeemable:
            yield "redeemable", True


def _fingerprint(message_id: str) -> str:
    # A lone surrogate may come from the command line of a system that is not UTF-8.
    return "sha256:" + hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()[:16]


def _words(name: str, value: object) -> str:
    if isinstance(value, list):
        return f"{name.removesuffix('s').replace('_', ' ')} {' or '.join(map(str, value))}"
    return name if value is True else f"{name} {value}"
