"""Keeps each lane's prefetch at the number of messages that this replica can make calls for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.token.prefetch import prefetches

if TYPE_CHECKING:
    from worker.adapters.rabbitmq.consuming import ConsumingLink
    from worker.runtime.replica import Replica
    from worker.settings import Settings


class Prefetch:
    """Follows the replica's share of the rate; zero while AWS accepts only other replicas' calls.

    Attributes:
        patience_seconds: How long a buyer is assumed to wait; may be changed at any time.
    """

    def __init__(self, settings: Settings, replica: Replica, consuming: ConsumingLink) -> None:
        self._concurrency = settings.pool.concurrency
        self._replica = replica
        self._consuming = consuming
        self.patience_seconds = settings.token.patience

    def apply(self) -> None:
        """Set the prefetch that fits now; cheap to call often."""
        share = self._replica.pacer.share
        aside = self._replica.breaker.state.stands_aside
        wanted = prefetches(self._concurrency, share, self.patience_seconds)
        for lane, messages in wanted.items():
            self._consuming.set_prefetch(lane, 0 if aside else messages)
