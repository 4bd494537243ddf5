"""The names under which calls are held; the gate (`runtime/gate.py`) has a reason for each."""

from __future__ import annotations

from typing import Final

AWS: Final = "aws"
"""AWS refuses this replica, or is down for it: the breaker is open."""

LEDGER: Final = "ledger"
"""The database can't be used."""

PAUSE: Final = "pause"
"""An operator has paused all calls."""

FLEET: Final = "fleet"
"""There was no lease of the shared rate yet, or the identity at AWS is not checked yet."""

DRAIN: Final = "drain"
"""The worker is shutting down."""
