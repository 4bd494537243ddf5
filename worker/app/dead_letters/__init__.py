"""Replaying dead letters: claim, publish, mark, a batch at a time; killed anywhere it goes on."""

from worker.app.dead_letters.replay import replay
from worker.app.dead_letters.request import Order

__all__ = ["Order", "replay"]
