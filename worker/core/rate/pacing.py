"""How fast to call: the generic cell rate algorithm. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Gcra:
    """A pace of so many permits a second, in virtual scheduling form.

    Source: ITU-T I.371, generic cell rate algorithm. `arrival` is the theoretical arrival time of
    the next permit; a permit may be taken up to `burst - 1` intervals before it.

    Attributes:
        rate: Permits a second; None for no limit.
        burst: Permits that may be taken at once after a rest, at least 1.
        arrival: Theoretical arrival time, in seconds of the caller's clock.
    """

    rate: float | None
    burst: float = 1.0
    arrival: float = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until a permit could be taken: 0 for now."""
        if self.rate is None:
            return 0.0
        return max(0.0, self.arrival - (self.burst - 1) / self.rate - now)

    def take(self, now: float) -> bool:
        """Take a permit, if one is to be had now."""
        if self.wait(now) > 0:
            return False
        if self.rate is not None:
            self.arrival = max(self.arrival, now) + 1 / self.rate
        return True

    def change(self, rate: float | None, now: float) -> None:
        """Go on at another rate; what is owed is kept in permits, not in seconds."""
        if self.rate is not None and rate is not None and self.arrival > now:
            self.arrival = now + (self.arrival - now) * self.rate / rate
        self.rate = rate
