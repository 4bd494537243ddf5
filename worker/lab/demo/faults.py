"""Which of several faults at once a person should be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.exceptions import BrokerLost, BrokerUnavailable
from worker.lab.demo.processes import Died
from worker.lab.demo.publishing import NotPublished
from worker.lab.servers import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.lab.demo.processes import Player

# The cause before its effects: what else fails when a process has gone says less.
KNOWN: Final = (Died, ServiceError, NotPublished, BrokerUnavailable, BrokerLost)


def the_fault(error: BaseException, players: Iterable[Player]) -> BaseException:
    """The fault behind whatever ended the show.

    Args:
        error: What was raised, possibly several errors at once.
        players: The processes, one of which may have gone unnoticed so far.
    """
    for player in players:
        if not (player.dismissed or player.server.alive):
            return Died(player.name, player.log)
    for kind in KNOWN:
        if (leaf := _leaf(error, kind)) is not None:
            return leaf
    return error


def _leaf(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        leaves = (_leaf(inner, kind) for inner in error.exceptions)
        return next((leaf for leaf in leaves if leaf is not None), None)
    return error if isinstance(error, kind) else None
