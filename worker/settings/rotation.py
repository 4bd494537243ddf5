"""Reads the secrets directory again; each setting in it is updated on its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from worker.settings import sources
from worker.settings.layers import Given, Layer
from worker.settings.leaves import Location
from worker.settings.merging import merged
from worker.settings.model import Settings
from worker.settings.sources import Secrets

_log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 60.0
_REMEDY = "the last valid value of each is used; correct these files, and they are read again"


class Rotation:
    """The settings with the current secrets.

    For a value that can't be read, is not valid, or is gone the last valid one is used; the others
    are not affected. Of values that conflict, the new ones are all held back. A fault is logged at
    once, and every minute for as long as the settings are read.

    Args:
        directory: Where the secrets are; None if there is no such directory.
        secrets: The valid secrets found there at first.
        settings: The settings merged from all layers with these secrets.
        above: Layers that take precedence over the secrets.
        below: Layers over which the secrets take precedence.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        directory: Path | None,
        secrets: Secrets,
        settings: Settings,
        *,
        above: Sequence[Layer],
        below: Sequence[Layer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._above, self._below = tuple(above), tuple(below)
        self._good = dict(secrets.values)
        self._foreign = secrets.foreign
        self._settings = settings
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._kept = 0

    def __call__(self) -> Settings:
        """Read the directory again. Never raises for what is found there."""
        if self._directory is not None:
            found = sources.secrets(self._directory)
            faults = [*found.strays, *self._take_up(found)]
            self._kept = sum(found.values.get(path) != each for path, each in self._good.items())
            self._log_faults(faults)
            self._log_foreign(found)
        return self._settings

    def kept(self) -> int:
        """Read the directory again: how many secrets are used though their file can't be."""
        self()
        return self._kept

    def good(self) -> Secrets:
        """The current secrets, with the last valid value of each that is not valid now."""
        self()
        return Secrets(dict(self._good), foreign=self._foreign)

    def _take_up(self, found: Secrets) -> list[str]:
        """Uses the new valid values; returns what is wrong with the rest."""
        if found.unreadable:
            return [found.unreadable]
        faults = [
            f"{given.label}: is gone"
            for path, given in self._good.items()
            if path not in found.values and path not in found.faults
        ]
        wanted, settings, refused = self._accepted({**self._good, **found.values})
        if new := self._new(wanted):
            self._good, self._settings = wanted, settings
            _log.info("secrets_taken_up", files=[wanted[path].label for path in sorted(new)])
        return [*found.faults.values(), *faults, *refused]

    def _new(self, wanted: Mapping[Location, Given]) -> set[Location]:
        return {path for path, given in wanted.items() if given != self._good.get(path)}

    def _accepted(
        self, wanted: dict[Location, Given]
    ) -> tuple[dict[Location, Given], Settings, list[str]]:
        """The values that are valid together, the settings merged from them, and the faults."""
        refused: list[str] = []
        settings = self._settings
        while new := self._new(wanted):
            settings, faults = merged((*self._above, Layer(wanted), *self._below))
            held = new.intersection(path for fault in faults for path in fault.concerns)
            if not held:
                break
            refused += [fault.text for fault in faults if held.intersection(fault.concerns)]
            wanted = {path: given for path, given in wanted.items() if path not in held}
            wanted |= {path: self._good[path] for path in held if path in self._good}
        return wanted, settings, refused

    def _log_faults(self, faults: Sequence[str]) -> None:
        now = self._clock()
        recent = {text: at for text, at in self._logged_at.items() if now - at < _AGAIN_SECONDS}
        if any(text not in recent for text in faults):
            _log.warning("secrets_kept", faults=faults, remedy=_REMEDY)
            recent |= dict.fromkeys(faults, now)
        self._logged_at = recent

    def _log_foreign(self, found: Secrets) -> None:
        if not found.unreadable and found.foreign != self._foreign:
            self._foreign = found.foreign
            if found.passed_over:
                _log.warning("secrets_ignored", reason=found.passed_over)
