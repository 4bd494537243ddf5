"""What was asked for, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection


@dataclass(frozen=True, slots=True)
class Order:
    """A replay that a person has ordered.

    Attributes:
        selection: Of which letters, whatever is being done about them.
        keys: Ids of the keys that can be opened.
        canary: How many letters go first, through the live lane; 0 for none.
        canary_seconds: How long their outcomes are awaited.
        rate: Letters a second, or None for as fast as can be.
        abort_percent: The share of failures among the outcomes above which it stops, or None.
        limit: The most letters, or None.
        margin: How long before AWS's own limit this installation gives a token up.
        patience_seconds: How long a broker or a database that is away is waited for.
    """

    selection: Selection
    actor: Actor
    keys: tuple[str, ...]
    canary: int = 0
    canary_seconds: float = 60.0
    rate: float | None = None
    abort_percent: float | None = None
    limit: int | None = None
    margin: timedelta = field(default_factory=timedelta)
    patience_seconds: float = 20.0

    def described(self) -> dict[str, Any]:
        """For the audit: no token, and nothing that names a customer."""
        asked = {
            "canary": self.canary or None,
            "rate": self.rate,
            "abort_on_failures": self.abort_percent,
            "limit": self.limit,
        }
        told = {name: value for name, value in asked.items() if value is not None}
        return {"selection": self.selection.described(), **told}
