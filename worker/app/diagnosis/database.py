"""Checks of the database: reachability, schema, rights, shared state and clock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.adapters.aws.addresses import shown
from worker.adapters.postgres import fitness
from worker.adapters.postgres.fitness import WORKER
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.operator.errors import DatabaseFault, place
from worker.adapters.postgres.operator.inspection import inspecting
from worker.adapters.postgres.stand_in import not_marked
from worker.app import fleet as sharing
from worker.app.diagnosis.aws import called
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed, Skipped
from worker.app.diagnosis.role import for_workers
from worker.app.lost_queues import loss
from worker.app.retention import days, unheeded
from worker.app.wiring import endpoint
from worker.core.clock import TOLD_SECONDS, UNREADY_SECONDS, skew_words
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from worker.adapters.postgres.errors import Diagnosis
    from worker.adapters.postgres.operator.inspection import Inspector
    from worker.adapters.postgres.rate.status import FleetStatus
    from worker.settings import Settings

_SURPLUS: Final = (
    "it has more rights than this version needs: once no worker of an earlier version runs, run "
    "deploy/postgres/revoke.sql as the schema's owner"
)


async def connection(settings: Settings) -> Passed:
    """The database can be reached, accepts the worker, holds Unicode, and is writable."""
    dsn = settings.current_postgres_dsn()
    async with _asking(dsn) as inspector:
        found = await inspector.inspect()
    _require(fitness.unfit_server(found))
    notes = ("the role is a superuser: see deploy/postgres for one that is not",)
    detail = f"PostgreSQL {found.server_version}, database {found.database}, as {found.role}"
    return Passed(f"{detail}; takes writes", notes if found.superuser else ())


def _require(fault: Diagnosis | None) -> None:
    if fault is not None:
        raise Failed(*fault)


async def migrator(settings: Settings) -> Passed:
    """The database accepts the role that `migrate` connects as."""
    async with _asking(settings.current_postgres_admin_dsn()) as inspector:
        found = await inspector.inspect()
    return Passed(f"database {found.database}, as {found.role}")


async def schema(settings: Settings) -> Passed:
    """The schema exists, is complete, and is at least as new as this program needs."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        found = await inspector.inspect()
        version = await inspector.schema_version() if found.may_read_version else None
        _require(fitness.unfit_schema(found, version, found.absent_parts))
        if version is None:
            raise Skipped("because the role may not read resolution.schema_migration: see grants")
        changed = await inspector.changed_migrations()
    if changed:
        raise Failed(
            f"{', '.join(changed)} was changed after it had been applied",
            "deploy the program as it was released: its migrations are not the ones that made this "
            "schema, and `migrate` refuses them",
        )
    newer = (f"it is newer than this program, which knows versions up to {LATEST}",)
    return Passed(f"version {version}", newer if version > LATEST else ())


async def stand_in(settings: Settings) -> Passed:
    """Answers from an unencrypted endpoint are stored only in a database marked as a playground."""
    try:
        address = await called(endpoint(settings))
    except Failed:
        raise Skipped("because aws endpoint failed") from None
    async with _asking(settings.current_postgres_dsn()) as inspector:
        if (whose := (await inspector.inspect()).whose) != WORKER:
            raise for_workers(whose)
        marked = await inspector.is_stand_in()
    if not (marked or address.is_encrypted):
        raise Failed(*not_marked(shown(address), address.named_by), Cause.CONFIGURATION)
    if not marked:
        return Passed(
            "the database is not marked as a playground: only answers from AWS are stored in it"
        )
    real = ("AWS's answers are stored among a simulator's made-up ones",)
    detail = "the database is marked as a playground, for a simulator"
    return Passed(detail, real if address.is_encrypted else ())


async def grants(settings: Settings) -> Passed:
    """The role has every right that the worker needs; with another of our roles, that role's."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        found = await inspector.inspect()
        if found.absent:
            raise Skipped("because schema failed")
        missing = await inspector.missing_rights(found.whose)
    _require(fitness.lacking(found.role, missing))
    surplus = (_SURPLUS,) if found.writes_directly else ()
    return Passed(f"{found.role} has all that the {found.whose} needs", surplus)


async def fleet(settings: Settings) -> Passed:
    """What the replicas share. Stopped calls are noted: they are not a fault of the set-up."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        found = await inspector.fleet(DEFAULT_SELLER)
    rate = "no rate yet" if found.rate is None else f"{found.rate:.4g} calls a second shared"
    return Passed(f"{rate}, {len(found.members)} replicas live", tuple(_stopped(found)))


def _stopped(found: FleetStatus) -> Iterator[str]:
    if found.pause:
        yield f"calls are {found.pause}"
    breaker = sharing.breaker(found)
    for each in breaker.stopped:
        whose = f" of {each.replicas} of {breaker.live} replicas" if breaker.alone else ""
        yield f"calls{whose} are stopped: {each.code}: {each.message}: {each.remedy}"


async def lost_queues(settings: Settings) -> Passed:
    """No queue went missing on the broker without somebody having acknowledged it."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        lost = await inspector.lost_queues()
    if lost:
        raise Failed(
            *loss(lost),
            notes=tuple(f"{queue}: since {at:%Y-%m-%d %H:%M:%S} UTC" for queue, at in lost.items()),
        )
    return Passed("no queue went missing on the broker")


async def retention(settings: Settings) -> Passed:
    """How long the database keeps rows, and which settings it does not follow."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        kept = await inspector.periods()
    periods = {name: days(seconds) for name, seconds in kept.items()}
    detail = (
        f"kept: what is resolved {periods['ledger']}, other outcomes {periods['unresolved']}, "
        f"dead letters {periods['dead_letters']}, the audit {periods['audit']}"
    )
    return Passed(detail, tuple(unheeded(settings, kept)))


async def clock(settings: Settings) -> Passed:
    """This machine's clock and the database's agree."""
    async with _asking(settings.current_postgres_dsn()) as inspector:
        before = datetime.now(UTC)
        found = await inspector.now()
        after = datetime.now(UTC)
    seconds = (before + (after - before) / 2 - found).total_seconds()
    if abs(seconds) > UNREADY_SECONDS:
        detail, _, remedy = skew_words(seconds, None).partition("; ")
        raise Failed(detail, remedy)
    notes = (skew_words(seconds, None),) if abs(seconds) > TOLD_SECONDS else ()
    return Passed("this machine's clock and the database's agree", notes)


@asynccontextmanager
async def _asking(dsn: str) -> AsyncIterator[Inspector]:
    try:
        async with inspecting(dsn, STEP_SECONDS) as inspector:
            yield inspector
    except DatabaseFault as fault:
        detail = f"database at {place(dsn)}: {fault.what}"
        raise Failed(detail, fault.remedy, Cause.UNREACHABLE) from fault
