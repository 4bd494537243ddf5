"""How long things are kept: the background work of retention, and what settings say of it."""

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
_DATABASE: Final = timedelta(0)  # as long as the database says


def configured(settings: Settings) -> dict[str, float | None]:
    """The periods that are set, in seconds, None for ever; those left to the database are absent.

    By name: `ledger`, `unresolved`, `dead_letters`, `audit`.
    """
    return settings.retention.model_dump(exclude_unset=True)


def periods(settings: Settings) -> Periods:
    """How long a replica has things kept, at the least."""
    wanted = configured(settings)
    names = type(settings.retention).model_fields
    return Periods(**{name: _span(wanted[name]) if name in wanted else _DATABASE for name in names})


def retention(settings: Settings, connect: Connect, metrics: Metrics) -> Retention:
    """The background work; nothing runs or connects yet."""
    return Retention(PostgresRetention(connect), tasks(periods(settings)), metrics)


def unheeded(settings: Settings, kept: Mapping[str, float | None]) -> Iterator[str]:
    """Which settings the database does not follow, in words; `kept` is what it says itself."""
    for name, wanted in configured(settings).items():
        stands = kept[name]
        if wanted is not None and (stands is None or wanted < stands):
            yield (
                f"WORKER_RETENTION__{name.upper()} has no effect: it says {days(wanted)}, and the "
                f"database keeps that {days(stands)}; `resolution-worker migrate` hands it over"
            )


def days(seconds: float | None) -> str:
    """A period for people."""
    return "for ever" if seconds is None else f"{seconds / _DAY_SECONDS:g} days"


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
