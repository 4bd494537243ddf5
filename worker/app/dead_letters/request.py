"""What a person asked a replay to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """A replay that a person asked for.

    Attributes:
        selection: Which dead letters.
        keys: Ids of the private keys that are at hand.
        canary: How many dead letters go first, through the live lane; 0 for none.
        canary_seconds: How long to wait for their outcomes.
        rate: Dead letters a second, or None for as fast as possible.
        abort_percent: The share of failures among the outcomes above which it stops, or None.
        limit: The most dead letters, or None.
        margin: How long before AWS's own limit this installation gives a token up.
        retry_for_seconds: How long to retry while the broker or the database is away.
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
    retry_for_seconds: float = 20.0

    def described(self) -> dict[str, Any]:
        """Return it for the audit: no token, and nothing that names a customer."""
        options = {
            "canary": self.canary or None,
            "rate": self.rate,
            "abort_on_failures": self.abort_percent,
            "limit": self.limit,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {"selection": self.selection.described(), **given}
