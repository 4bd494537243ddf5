"""Who may use how much of a rate that all replicas share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST: Final = 0.05  # of an even share: what an idle replica keeps, for the first token that comes
SINGLY_BELOW: Final = 1.0  # calls a second and replica
NOT_SINGLY_ABOVE: Final = 1.5


@dataclass(frozen=True, slots=True)
class Claim:
    """What a replica could use and what it has.

    Attributes:
        need: Calls a second; infinite while tokens wait for a permit.
        granted: Calls a second that it may be making now.
    """

    need: float
    granted: float


def share(rate: float, mine: Claim, others: Sequence[Claim]) -> float:
    """My part of the rate: max-min fair by need, and no more than the others leave for now.

    What others were granted is theirs until they renew, within about a second; a share grows
    only into what they have given back. Only the little that each replica always keeps may go
    beyond that, for as long.

    Source: max-min fairness by progressive filling, Bertsekas and Gallager, Data Networks, 1992.

    Args:
        rate: Calls a second of all together.
        mine: This replica's claim; what it was granted itself does not matter.
        others: The claims of all other live replicas.
    """
    least = LEAST * rate / (1 + len(others))
    needs = [max(mine.need, least), *(max(claim.need, least) for claim in others)]
    free = rate - sum(claim.granted for claim in others)
    return max(least, min(_fair(rate, needs), free))


def _fair(rate: float, needs: Sequence[float]) -> float:
    """The first one's max-min share; what nobody needs is spread evenly."""
    left, takers = rate, len(needs)
    for need in sorted(needs):
        if need * takers >= left:
            return min(needs[0], left / takers)
        left -= need
        takers -= 1
    return needs[0] + left / len(needs)


def singly(rate: float, replicas: int, *, now_singly: bool) -> bool:
    """Whether permits are to be leased one by one.

    A replica whose share is below one call a second would sit on a permit for seconds while
    another has use for it.

    Args:
        rate: Calls a second of all together.
        replicas: How many share it.
        now_singly: Whether they are so now; a rate near the limit does not go back and forth.
    """
    return rate / max(1, replicas) < (NOT_SINGLY_ABOVE if now_singly else SINGLY_BELOW)
