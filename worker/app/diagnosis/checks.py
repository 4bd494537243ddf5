"""All checks in the order in which they are reported, and which others each needs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from worker import settings as configuration
from worker.adapters import logs
from worker.app.diagnosis import broker, broker_users, database
from worker.app.diagnosis import configuration as basics
from worker.app.diagnosis.aws import Aws
from worker.app.diagnosis.examination import PATIENT_SECONDS, STEP_SECONDS, Check, run
from worker.app.hidden import hide_credentials
from worker.core.renewal import LOOK_UP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.app.diagnosis.finding import Finding, Passed
    from worker.settings import Settings, SettingsError

_CONFIGURATION: Final = "configuration"
_MIGRATOR: Final = "migrator"
_ANSWERS: Final = "answers"

NAMES: Final = (
    _CONFIGURATION,
    "seal key",
    "http port",
    "broker",
    "topology",
    "permissions",
    _ANSWERS,
    "policies",
    "database",
    "clock",
    _MIGRATOR,
    "schema",
    "stand-in",
    "grants",
    "fleet",
    "lost queues",
    "retention",
    "aws credentials",
    "aws account",
    "aws endpoint",
    "aws call",
)
"""The names of all checks. `migrator` is left out if `migrate` connects as the worker does, and
the checks through the management interface if that is not set."""


async def examine(load: Callable[[], Settings], tell: Callable[[Finding], None]) -> list[Finding]:
    """Check everything that a worker needs. Changes nothing.

    Args:
        load: Loads the settings.
        tell: Called with each finding, in the order of `NAMES`, as soon as it is known.
    """
    accepted, fault = _loaded(load)

    async def settings() -> Passed:
        return basics.settings(accepted, fault)

    first = Check(_CONFIGURATION, settings)
    others = _unsettled() if accepted is None else _checks(accepted)

    def report(finding: Finding) -> None:
        tell(_hidden(finding))

    return [_hidden(finding) for finding in await run([first, *others], report)]


def _loaded(load: Callable[[], Settings]) -> tuple[Settings | None, SettingsError | None]:
    try:
        return load(), None
    except configuration.SettingsError as error:
        return None, error


def _unsettled() -> list[Check]:
    """The checks that need settings; without settings they are skipped, never run."""

    async def look() -> Passed:
        raise AssertionError

    return [
        Check(name, look, (_CONFIGURATION,))
        for name in NAMES
        if name not in {_CONFIGURATION, _MIGRATOR, _ANSWERS}
    ]


def _checks(settings: Settings) -> list[Check]:
    hide_credentials(settings)
    amazon = Aws(settings)
    checks = [
        Check("seal key", partial(basics.seal_key, settings)),
        Check("http port", partial(basics.http_port, settings)),
        Check("broker", partial(broker.connection, settings)),
        Check("topology", partial(broker.declared, settings), ("broker",), PATIENT_SECONDS),
        Check(
            "permissions",
            partial(broker.permissions, settings),
            ("broker", "topology"),
            PATIENT_SECONDS,
        ),
        Check(_ANSWERS, partial(broker_users.callers, settings), ("broker",)),
        Check("policies", partial(broker_users.policies, settings), ("broker",)),
        Check("database", partial(database.connection, settings)),
        Check("clock", partial(database.clock, settings), ("database",)),
        Check(_MIGRATOR, partial(database.migrator, settings)),
        Check("schema", partial(database.schema, settings), ("database",)),
        Check("stand-in", partial(database.stand_in, settings), ("schema",)),
        Check("grants", partial(database.grants, settings), ("database",)),
        Check("fleet", partial(database.fleet, settings), ("schema", "grants")),
        Check("lost queues", partial(database.lost_queues, settings), ("schema", "grants")),
        Check("retention", partial(database.retention, settings), ("schema", "grants")),
        Check("aws credentials", amazon.credentials, seconds=LOOK_UP_SECONDS + STEP_SECONDS),
        Check("aws account", amazon.account, ("aws credentials",), PATIENT_SECONDS),
        Check("aws endpoint", amazon.reachable, seconds=PATIENT_SECONDS),
        Check("aws call", amazon.call, ("aws credentials", "aws endpoint")),
    ]
    absent: set[str] = set()
    if settings.postgres.admin_dsn == settings.postgres.dsn:
        absent.add(_MIGRATOR)
    if settings.amqp.management_url is None:
        absent.add(_ANSWERS)
    return [check for check in checks if check.name not in absent]


def _hidden(finding: Finding) -> Finding:
    """A finding without secrets, which a server's or library's message may contain."""
    if finding.check == _CONFIGURATION:
        return finding  # contains only our own texts
    notes = tuple(map(logs.secrets.hide, finding.notes))
    return replace(finding, detail=logs.secrets.hide(finding.detail), notes=notes)
