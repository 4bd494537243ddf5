"""Tells the log when messages begin to be suspected of ending processes, and when that is over."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

log: Final = structlog.get_logger()

_CALM_SECONDS: Final = 5.0  # between two groups nothing is suspected for a moment


class PoisonLog:
    """Whether messages of one connection are suspected, as the log was told."""

    def __init__(self) -> None:
        self._lasts = False
        self._met = 0
        self._messages = 0
        self._seen_at = 0.0

    def look(self, suspected: int, met: int, deaths: int) -> None:
        """Take note of how things are, and tell of a change.

        Args:
            suspected: How many messages in hand are suspected.
            met: How many suspected messages have come since the connection began.
            deaths: How many processes of the fleet have died lately.
        """
        now = asyncio.get_running_loop().time()
        self._messages += met - self._met
        if suspected or met > self._met:
            self._seen_at = now
            if not self._lasts:
                self._begin(deaths)
        elif not deaths or now - self._seen_at >= _CALM_SECONDS:
            self.end()
        self._met = met

    def _begin(self, deaths: int) -> None:
        self._lasts = True
        log.warning(
            "poison_suspected",
            messages=self._messages,
            processes_died=deaths,
            reason="they came back more than once, and processes may have died of one of them:"
            " handled in small groups, so that this one is parked alone",
        )

    def end(self) -> None:
        """Tell that it is over, if it was not yet."""
        if self._lasts:
            log.info("poison_no_longer_suspected", messages=self._messages)
        self._lasts, self._messages = False, 0
