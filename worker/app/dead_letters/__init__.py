"""Replaying dead letters: claim, publish, mark, in batches; after a kill it can be repeated."""

from worker.app.dead_letters.replay import replay
from worker.app.dead_letters.request import ReplayRequest

__all__ = ["ReplayRequest", "replay"]
