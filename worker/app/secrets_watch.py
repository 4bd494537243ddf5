"""Reads the secrets directory from time to time, so that a bad file is known before it is needed.

A secret is otherwise read when a connection is opened, which may be weeks later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.settings import Settings

_PERIOD_SECONDS: Final = 15.0


class SecretsWatch:
    """Watches the files of the secrets.

    Attributes:
        kept: How many secrets were in use at the last look though their file can't be.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.kept = 0

    async def run(self) -> None:
        """Look again and again until cancelled; what is found is logged once a minute."""
        while True:
            self.kept = self._settings.secrets_kept()
            await asyncio.sleep(_PERIOD_SECONDS)
