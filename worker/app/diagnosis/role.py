"""For whom a set-up is checked: a worker, or people with another of our roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.fitness import WORKER
from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.inspection import inspecting
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Skipped

if TYPE_CHECKING:
    from worker.settings import Settings

ELSEWHERE: Final = "run `check` where one runs, with its settings"


async def skip_unless_worker(settings: Settings) -> None:
    """End a check of what workers alone need, if the settings are those of other people.

    Raises:
        Skipped: The database knows the role as another of ours. If it can't be asked, or does not
            know the role, a worker's set-up is checked.
    """
    try:
        async with inspecting(settings.current_postgres_dsn(), STEP_SECONDS) as inspector:
            whose = (await inspector.inspect()).whose
    except DatabaseFault:
        return
    if whose != WORKER:
        raise for_workers(whose)


def for_workers(whose: str) -> Skipped:
    """The result of a check that only makes sense with a worker's settings."""
    return Skipped(f"with the rights of the {whose}: workers need it; {ELSEWHERE}")
