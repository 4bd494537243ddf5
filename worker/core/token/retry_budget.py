"""How many calls may be spent on trying again at once, when AWS fails in passing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEPOSIT: Final = 0.1  # a tenth of the calls: an outage costs 10 % more, not twice as much
MOST: Final = 10.0  # what quiet hours may save up: a burst of retries, not a storm
FIRST: Final = 3.0  # so that a worker's first calls may be tried again too


@dataclass(slots=True)
class RetryBudget:
    """A token bucket that calls fill and retries of transient faults empty.

    With nothing left in it a token goes to the retry queues at once: while AWS fails for all,
    trying again on the spot would only multiply the load. Throttled calls are not counted here,
    they are paced.

    Source: retry budgets in Finagle and "Addressing Cascading Failures", Site Reliability
    Engineering, O'Reilly 2016.

    Attributes:
        saved: Retries that may be made now.
    """

    saved: float = FIRST

    def called(self) -> None:
        """Deposit for one call, a retry's own call too."""
        self.saved = min(MOST, self.saved + DEPOSIT)

    @property
    def affordable(self) -> bool:
        """Whether there is a retry left to take."""
        return self.saved >= 1.0 - _ROUNDING

    def withdraw(self) -> bool:
        """Take one retry, if the budget still has one."""
        if not self.affordable:
            return False
        self.saved = max(0.0, self.saved - 1.0)
        return True


_ROUNDING: Final = 1e-9  # ten deposits of a tenth are a whole one
