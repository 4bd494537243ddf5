"""Replaying dead letters: claim, publish, mark, a batch at a time; killed anywhere it goes on."""

from worker.app.dead_letters.order import Order
from worker.app.dead_letters.run import replay

__all__ = ["Order", "replay"]
