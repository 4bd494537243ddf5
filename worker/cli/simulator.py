"""`simulator`: the Marketplace stand-in. The command is its own, since it stands alone."""

from __future__ import annotations

from worker.lab.simulator.command import simulator

__all__ = ["simulator"]
