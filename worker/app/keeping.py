"""How long a replica keeps what: the background work of retention, made from its settings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.adapters.postgres.retention import PostgresRetention
from worker.core.retention import Periods, tasks
from worker.runtime.retention import Retention

if TYPE_CHECKING:
    from worker.adapters.metrics import Metrics
    from worker.adapters.postgres.connection import Connect
    from worker.settings import Settings


def periods(settings: Settings) -> Periods:
    """How long things are kept."""
    kept = settings.retention
    return Periods(_span(kept.ledger), _span(kept.dead_letters), _span(kept.audit))


def retention(settings: Settings, connect: Connect, metrics: Metrics) -> Retention:
    """The background work; nothing runs or connects yet."""
    return Retention(PostgresRetention(connect), tasks(periods(settings)), metrics)


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
