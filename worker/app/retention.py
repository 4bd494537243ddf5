"""Retention: the background work, and the periods in the settings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.dead_letters.retention import PostgresRetention
from worker.core.dead_letters.retention import Periods, tasks
from worker.runtime.dead_letters.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.adapters.metrics import Metrics
    from worker.adapters.postgres.sessions import Connect
    from worker.settings import Settings

_DAY_SECONDS: Final = 86_400
_DATABASE: Final = timedelta(0)  # no minimum: the database's own period applies


def configured(settings: Settings) -> dict[str, float | None]:
    """The periods that are set, in seconds; None for ever. Periods that are not set are absent.

    By name: `ledger`, `unresolved`, `dead_letters`, `audit`.
    """
    return settings.retention.model_dump(exclude_unset=True)


def periods(settings: Settings) -> Periods:
    """The minimum periods that a replica asks retention to keep rows for."""
    wanted = configured(settings)
    names = type(settings.retention).model_fields
    return Periods(**{name: _span(wanted[name]) if name in wanted else _DATABASE for name in names})


def retention(settings: Settings, connect: Connect, metrics: Metrics) -> Retention:
    """Create the background work; nothing runs or connects yet."""
    return Retention(PostgresRetention(connect), tasks(periods(settings)), metrics)


def unheeded(settings: Settings, kept: Mapping[str, float | None]) -> Iterator[str]:
    """A message for each setting that the database does not follow; `kept` has its own periods."""
    for name, wanted in configured(settings).items():
        actual = kept[name]
        if wanted is not None and (actual is None or wanted < actual):
            yield (
                f"WORKER_RETENTION__{name.upper()} has no effect: it is {days(wanted)}, but the "
                f"database keeps these rows {days(actual)}; `resolution-worker migrate` applies it"
            )


def days(seconds: float | None) -> str:
    """A period as text, in days."""
    return "for ever" if seconds is None else f"{seconds / _DAY_SECONDS:g} days"


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
