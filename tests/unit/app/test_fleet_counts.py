"""What the database counts, as the metrics have it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from worker.app.fleet_counts import FleetCounts
from worker.core.exceptions import LedgerUnavailable


class Ledger:
    """A database with dead letters of three reasons, one of them past saving."""

    away = False

    async def check(self) -> None:
        """Nothing is wrong with it, unless it is away."""
        if self.away:
            raise LedgerUnavailable("away")

    async def dead_letter_counts(self) -> dict[str, int]:
        """Open letters."""
        return {"dead": 2, "expired": 1, "parked": 1}

    async def redeemable(self) -> int:
        """Those that can be saved."""
        return 2

    async def first_expiries(self) -> dict[str, float]:
        """Of those; one expires at this very moment."""
        return {"dead": 600.0, "parked": -0.1}


class Quiet:
    """No event waits, and no queue went missing."""

    lost: tuple[str, ...] = ()

    async def count(self) -> int:
        """None."""
        return 0

    async def note(self) -> None:
        """Nothing to note."""


async def test_what_was_counted_is_forgotten_while_the_database_is_away() -> None:
    """A reason without a letter that can be saved expires never, and none before now."""
    ledger, quiet = Ledger(), cast("Any", Quiet())
    counts = FleetCounts(cast("Any", ledger), quiet, quiet)
    await counts.look()
    found = counts.last
    assert found is not None
    assert found.first_expiries == {"dead": 600.0, "expired": float("inf"), "parked": 0.0}
    assert (found.redeemable, found.events, found.lost_queues) == (2, 0, 0)
    ledger.away = True
    with pytest.raises(LedgerUnavailable):
        await counts.look()
    forgotten = counts.last
    assert forgotten is None
