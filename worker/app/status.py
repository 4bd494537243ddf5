"""The state of a fleet at a glance, from the broker, the database and this machine's worker.

A part that can't be reached is reported as absent; the rest is shown all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.adapters import local_worker
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.inspection import inspecting
from worker.adapters.rabbitmq import probing
from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED, TOKENS
from worker.app import combined, fleet
from worker.core.exceptions import BrokerUnavailable
from worker.core.records import DEFAULT_SELLER, LetterReason
from worker.core.token.outgoing import retry_exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.postgres.operator.inspection import Inspector
    from worker.adapters.postgres.rate.status import Member
    from worker.adapters.rabbitmq.probing import Depth
    from worker.core.rate.fleet import Pause
    from worker.settings import Settings

RECENT_SECONDS: Final = 300.0
_STEP_SECONDS: Final = 4.0
_KNOWN_SECONDS: Final = 2.0
_NAME: Final = "resolution-worker status"


@dataclass(slots=True)
class Letters:
    """Open dead letters.

    Attributes:
        open: Number by reason; every known reason is included.
        redeemable: Number whose token can still be redeemed.
        first_expiry: When the first of those expires.
    """

    open: Mapping[str, int]
    redeemable: int
    first_expiry: datetime | None


@dataclass(slots=True)
class LocalWorker:
    """The worker that answers at WORKER_HTTP__HOST and WORKER_HTTP__PORT.

    Attributes:
        oldest_unsettled_seconds: Age of the oldest message it has in hand, by lane.
    """

    address: str
    version: str
    breaker: str
    oldest_unsettled_seconds: Mapping[str, float]


@dataclass(slots=True)
class Status:
    """The state of the fleet; None for what could not be obtained.

    Attributes:
        rate: Calls a second that the replicas share.
        pause: Who has paused all calls, since when and why; None if calls are not paused.
        breaker: Whether AWS refuses us, why, and what to do about it.
        shares: The live replicas, with their shares of the rate.
        replicas: How many are live: they renew their lease of the rate each second.
        consumers: Consumers of the live queue. Of a frozen replica the broker keeps it for a while;
            a replica that starts, or that AWS refuses, has none.
        oldest_seconds: By lane, the seconds since the oldest message that a replica has in hand was
            received; lanes without any are absent.
        lost_queues: Queues that went missing on the broker, and since when.
        outcomes: Tokens settled in the last `outcomes_seconds`, by status.
        faults: What is wrong although every part answers.
        absent: Why a part could not be queried, or is not as it should be, by part.
    """

    at: datetime
    rate: fleet.Rate
    pause: Pause | None = None
    breaker: fleet.Breaker | None = None
    shares: tuple[Member, ...] | None = None
    queues: list[Depth] | None = None
    replicas: int | None = None
    consumers: int | None = None
    oldest_seconds: Mapping[str, float] | None = None
    lost_queues: Mapping[str, datetime] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    dead_letters: Letters | None = None
    outcomes: Mapping[str, int] | None = None
    outcomes_seconds: float = RECENT_SECONDS
    worker: LocalWorker | None = None
    absent: dict[str, str] = field(default_factory=dict)


async def gather(settings: Settings) -> Status:
    """Query all parts concurrently, each within a few seconds."""
    status = Status(datetime.now(UTC), fleet.Rate(settings.rate.ceiling))
    known: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(_ask_broker(settings, status, known))
        group.create_task(_ask_database(settings, status, known))
        group.create_task(_ask_worker(settings, status))
    _judge(status)
    return status


def _judge(status: Status) -> None:
    """Join what the replicas have in hand to what the broker says, and tell what contradicts."""
    if status.shares is not None:
        status.replicas = len(status.shares)
        status.oldest_seconds = combined.oldest(status.shares)
        status.queues = status.queues and combined.with_unacked(status.queues, status.shares)
    status.faults += combined.faults(
        status.replicas or 0, status.queues or (), status.consumers, status.lost_queues
    )


async def _retry_queues(settings: Settings, known: asyncio.Future[list[str]]) -> list[str]:
    """The retry queues that workers have seen, and those that the settings name.

    Whoever has set no delays does not know the workers': the default's are taken only where the
    database can't tell.
    """
    await asyncio.wait({known}, timeout=_KNOWN_SECONDS)
    seen = known.result() if known.done() else []
    theirs = [name for name in seen if name.startswith(retry_exchange(""))]
    are_set = "delays" in settings.retry.model_fields_set
    ours = settings.retry.delays if are_set or not theirs else ()
    return list(dict.fromkeys([*(retry_exchange(delay.text) for delay in ours), *theirs]))


async def _ask_broker(settings: Settings, status: Status, known: asyncio.Future[list[str]]) -> None:
    retries = await _retry_queues(settings, known)
    url = settings.current_amqp_url()
    try:
        async with probing.looking(url, name=_NAME, seconds=_STEP_SECONDS) as opened:
            status.queues = await probing.depths(opened, (*LANE_QUEUES.values(), *retries, PARKED))
            if not await probing.readable(opened, reversed(status.queues)):
                status.faults.append(probing.NO_MAJORITY)
    except BrokerUnavailable as error:
        status.absent["broker"] = str(error)
        return
    status.consumers = next(each.consumers for each in status.queues if each.queue == TOKENS)


async def _ask_database(
    settings: Settings, status: Status, known: asyncio.Future[list[str]]
) -> None:
    try:
        async with inspecting(settings.current_postgres_dsn(), _STEP_SECONDS) as inspector:
            known.set_result(await _known_queues(inspector))
            await _ask_fleet(settings, inspector, status)
            status.dead_letters = await _letters(inspector)
            status.outcomes = await inspector.recent_outcomes(RECENT_SECONDS)
            status.lost_queues = await _lost_queues(inspector)
            version = await inspector.schema_version()
    except DatabaseFault as fault:
        status.absent["database"] = fault.line
        return
    if version < LATEST:
        status.absent["schema"] = (
            f"the database is at version {version}, and this program needs {LATEST}; run "
            "`resolution-worker migrate`"
        )


async def _ask_fleet(settings: Settings, inspector: Inspector, status: Status) -> None:
    try:
        fleet_status = await inspector.fleet(DEFAULT_SELLER)
    except DatabaseFault as fault:  # such as a schema that is too old: the rest can still be shown
        status.absent["fleet"] = fault.line
        return
    status.rate = fleet.rate(fleet_status, settings.rate.ceiling)
    status.pause = fleet_status.pause
    status.breaker = fleet.breaker(fleet_status)
    status.shares = fleet_status.members


async def _known_queues(inspector: Inspector) -> list[str]:
    try:
        return await inspector.known_queues()
    except DatabaseFault:  # an older schema, which is told
        return []


async def _lost_queues(inspector: Inspector) -> Mapping[str, datetime]:
    try:
        return await inspector.lost_queues()
    except DatabaseFault:  # an older schema, which is told
        return {}


async def _letters(inspector: Inspector) -> Letters:
    counted = await inspector.open_letters()
    redeemable = await inspector.redeemable()
    by_reason = {reason.value: 0 for reason in LetterReason} | dict(counted)
    return Letters(by_reason, redeemable.letters, redeemable.first_expiry)


async def _ask_worker(settings: Settings, status: Status) -> None:
    host, port = settings.http.host, settings.http.port
    readings = await local_worker.readings(host, port) if port else None
    if readings is None:
        return
    breaker = _BREAKERS[readings.breaker_open]
    address = f"{host}:{port}"
    status.worker = LocalWorker(address, readings.version, breaker, readings.oldest_seconds)


_BREAKERS: Final = {True: "open", False: "closed", None: "unknown"}
