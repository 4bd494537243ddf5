"""Logs when this replica is able to work and when not: an outage has an end in the log too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log: Final = structlog.get_logger()


class ReadinessLog:
    """Tells of each change.

    Args:
        faults: What `/readyz` says, by part.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        faults: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._faults = faults
        self._clock = clock
        self._since = clock()
        self._ready = False

    def look(self) -> None:
        """Compare with the last look; to be called every few seconds."""
        faults = self._faults()
        ready = not faults
        if ready is self._ready:
            return
        seconds, self._since = round(self._clock() - self._since, 1), self._clock()
        self._ready = ready
        if ready:
            log.info("became_ready", unready_seconds=seconds)
        else:
            log.warning("became_unready", ready_seconds=seconds, parts=sorted(faults))
