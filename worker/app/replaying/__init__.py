"""Replaying dead letters: claim, publish, mark, a batch at a time; killed anywhere it goes on."""

from worker.app.replaying.order import Order
from worker.app.replaying.run import replay

__all__ = ["Order", "replay"]
