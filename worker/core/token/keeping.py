"""How often a queue without consumers is used, so that no policy lets it expire.

A policy with `expires` deletes a queue that nobody uses, with all that is in it. Retry queues have
no consumers. To take a message and hand it back counts as use, and changes neither its place nor
the time at which it leaves the queue.
"""

from __future__ import annotations

from typing import Final

from worker.core.backoff import equal_jitter

_PERIOD_SECONDS: Final = 5.0
# RabbitMQ 4.0 to 4.2 let a message go after 20 such uses: it would come back too early.
_MOST_USES: Final = 15


def next_use(stay_seconds: float, replicas: int, draw: float) -> float:
    """Seconds until this replica uses a queue again.

    Args:
        stay_seconds: How long a message stays in the queue.
        replicas: How many do the same.
        draw: A uniform draw from [0, 1).
    """
    period = max(_PERIOD_SECONDS, stay_seconds / _MOST_USES)
    return equal_jitter(period * max(1, replicas), draw)
