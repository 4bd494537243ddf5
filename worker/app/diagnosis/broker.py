"""Checks of the broker: reachability, declarations and permissions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import declaration, probing
from worker.adapters.rabbitmq.connection import address
from worker.adapters.rabbitmq.topology import (
    LANE_QUEUES,
    PARKED,
    PUBLIC,
    Exchange,
    topology,
)
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed
from worker.app.diagnosis.names import resolved
from worker.app.diagnosis.role import for_workers
from worker.core.addresses import amqp
from worker.core.exceptions import BrokerLost, BrokerUnavailable
from worker.core.token.outgoing import ANSWERS, EVENTS, INTERNAL, retry_exchange
from worker.core.token.submissions import REPLY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aio_pika.abc import AbstractConnection

    from worker.adapters.rabbitmq.declaration import Row
    from worker.adapters.rabbitmq.topology import Topology
    from worker.settings import Settings

_NAME: Final = "resolution-worker check"
_ANSWER_KEY: Final = f"{REPLY_PREFIX}resolution-worker.check"
_CONFIGURE: Final = "^$"
_WRITE: Final = r"^resolution\.(internal|retry\..+|answers|replies|events)$"
_READ: Final = r"^resolution\.(tokens|backlog|crowd|parked|retry\..+)$"


def wanted(settings: Settings) -> Topology:
    """The topology that these settings need on the broker."""
    return topology({delay.text: delay.seconds for delay in settings.retry.delays})


async def connection(settings: Settings) -> Passed:
    """The broker can be reached, and accepts the worker in its virtual host."""
    url = settings.current_amqp_url()
    await resolved(amqp.read(url).hosts, "WORKER_AMQP__URL")
    try:
        async with probing.looking(url, name=_NAME, seconds=STEP_SECONDS) as opened:
            server = probing.server(opened)
    except BrokerUnavailable as error:
        raise unavailable(error, "WORKER_AMQP__URL") from error
    user, vhost = probing.who_and_where(url)
    return Passed(
        f"{server.product} {server.version} at {address(url)}, virtual host {vhost}, as {user}"
    )


def unavailable(error: BrokerUnavailable, setting: str) -> Failed:
    """The failure for a connection that could not be opened; names the setting of the address."""
    what, _, remedy = str(error).partition("; ")
    remedy = remedy or "check the broker's log"
    return Failed(what, f"{remedy}; the address is {setting}", Cause.UNREACHABLE)


# --- topology ---


async def declared(settings: Settings) -> Passed:
    """Every exchange and queue exists, with the right arguments as far as these can be compared."""
    url = settings.current_amqp_admin_url()
    try:
        rows = await declaration.show(url, wanted(settings))
    except BrokerLost as error:
        raise Failed(str(error), "check the broker's log", Cause.UNREACHABLE) from error
    except BrokerUnavailable as error:
        raise unavailable(error, "WORKER_AMQP__ADMIN_URL") from error
    if faulty := [row for row in rows if row.state in FAULTY]:
        raise _topology_failed(faulty, url)
    unchecked = [row for row in rows if row.state == "unchecked"]
    note = ("arguments were not compared: set WORKER_AMQP__ADMIN_URL to a user who may declare",)
    return Passed(f"{len(rows)} exchanges and queues exist", note if unchecked else ())


FAULTY: Final = ("missing", "differs")
"""States of an exchange or a queue with which workers can't run."""
_DECLARE: Final = "run `resolution-worker topology declare`"


def remedies(rows: Sequence[Row], url: str) -> list[str]:
    """What to do about faulty exchanges and queues, in this order; empty if there are none.

    Args:
        rows: The state of each exchange and queue.
        url: The broker's address; only its virtual host is shown.
    """
    differing = {row.kind for row in rows if row.state == "differs"}
    vhost = shlex.quote(probing.who_and_where(url)[1])
    found = []
    if "queue" in differing:
        found.append(
            "let each queue that differs run empty and delete it: `rabbitmqctl delete_queue "
            f"-p {vhost} NAME`"
        )
    if "exchange" in differing:
        found.append(
            "delete each exchange that differs, while no worker runs, in the management UI or by "
            f"`rabbitmqadmin --vhost={vhost} delete exchange name=NAME`; this also deletes the "
            "bindings of other programs' queues, whose owners must create them again"
        )
    if differing or any(row.state == "missing" for row in rows):
        found.append(f"{_DECLARE} with the same WORKER_RETRY__DELAYS")
    return found


def _topology_failed(rows: list[Row], url: str) -> Failed:
    states = [state for state in FAULTY if any(row.state == state for row in rows)]
    counts = [f"{sum(row.state == state for row in rows)} {state}" for state in states]
    notes = tuple(
        f"{row.kind} {row.name}: {row.state}{f' ({row.detail})' if row.state == 'differs' else ''}"
        for row in rows
    )
    remedy = "; then ".join(remedies(rows, url))
    return Failed(f"exchanges and queues: {', '.join(counts)}", remedy, notes=notes)


# --- rights ---


@dataclass(frozen=True, slots=True)
class _Rights:
    lacking: tuple[str, ...]
    excess: tuple[str, ...]


async def permissions(settings: Settings) -> Passed:
    """The worker may read its queues and write its exchanges; other rights are noted."""
    url = settings.current_amqp_url()
    try:
        async with probing.looking(url, name=_NAME, seconds=STEP_SECONDS) as opened:
            depths = await probing.depths(opened, (PARKED, *LANE_QUEUES.values()))
            if not await probing.readable(opened, depths):
                detail, _, remedy = probing.NO_MAJORITY.partition(". ")
                raise Failed(detail, remedy, Cause.UNREACHABLE)
            found = await _rights(opened, settings)
    except BrokerLost as error:
        remedy = (
            "look for a memory or disk alarm: `rabbitmq-diagnostics alarms`, or the broker's log"
        )
        raise Failed(str(error), remedy, Cause.UNREACHABLE) from error
    except BrokerUnavailable as error:
        raise unavailable(error, "WORKER_AMQP__URL") from error
    user, vhost = probing.who_and_where(url)
    match _whose(found):
        case "operator":
            return Passed(
                f"{user} may write {INTERNAL}, as people on call need it for replays; what workers "
                "need is seen where one runs"
            )
        case "publisher":
            raise for_workers("publisher")
    if found.lacking:
        raise Failed(f"{user} may not {', '.join(found.lacking)}", grant(user, vhost))
    more = f"{user} may do more than the worker needs: {', '.join(found.excess)}"
    return Passed(
        f"{user} may read its queues and write its exchanges", (more,) if found.excess else ()
    )


def _whose(rights: _Rights) -> str | None:
    """Whose rights they are, if not a worker's: nobody else of ours may read a lane."""
    if not all(f"read {queue}" in rights.lacking for queue in LANE_QUEUES.values()):
        return None
    if f"write {INTERNAL}" not in rights.lacking:
        return "operator"
    return "publisher" if f"write {PUBLIC}" in rights.excess else None


def grant(user: str, vhost: str) -> str:
    """The command that gives a worker's user the rights it needs, and no others."""
    words = ["rabbitmqctl", "set_permissions", "-p", vhost, user, _CONFIGURE, _WRITE, _READ]
    return f"run `{shlex.join(words)}` (see deploy/rabbitmq)"


async def _rights(opened: AbstractConnection, settings: Settings) -> _Rights:
    queues = [*LANE_QUEUES.values(), PARKED]
    retries = [retry_exchange(delay.text) for delay in settings.retry.delays]
    lacking = [
        f"read {each}" for each in (*queues, *retries) if not await probing.may_read(opened, each)
    ]
    lacking += [
        f"write {each}"
        for each in (INTERNAL, *retries, EVENTS)
        if not await probing.may_write(opened, each)
    ]
    if not await probing.may_write(opened, ANSWERS, _ANSWER_KEY):
        lacking.append(f"write {ANSWERS} under keys resolution.reply.…")
    return _Rights(tuple(lacking), tuple(await _excess(opened)))


async def _excess(opened: AbstractConnection) -> list[str]:
    excess = []
    if await probing.may_declare(opened, Exchange(PUBLIC, "direct")):
        excess.append("declare exchanges and queues")
    if await probing.may_write(opened, PUBLIC):
        excess.append(f"write {PUBLIC}")
    if await probing.may_write(opened, ""):
        excess.append("write any queue through the default exchange")
    return excess
