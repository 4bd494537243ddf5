"""Checks of the broker: reachability, declarations and permissions."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import declaration, probing, rights
from worker.adapters.rabbitmq.connect_errors import URL, with_setting
from worker.adapters.rabbitmq.connection import address
from worker.adapters.rabbitmq.topology import (
    DECLARE,
    LANE_QUEUES,
    PARKED,
    PUBLIC,
    absence,
    topology,
)
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed
from worker.app.diagnosis.role import for_workers
from worker.core.exceptions import BrokerLost, BrokerUnavailable
from worker.core.token.outgoing import INTERNAL, retry_exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.adapters.rabbitmq.declaration import Row
    from worker.adapters.rabbitmq.topology import Topology
    from worker.settings import Settings

_NAME: Final = "resolution-worker check"


def wanted(settings: Settings) -> Topology:
    """The topology that these settings need on the broker."""
    return topology({delay.text: delay.seconds for delay in settings.retry.delays})


async def connection(settings: Settings) -> Passed:
    """The broker can be reached, and accepts the worker in its virtual host."""
    url = settings.current_amqp_url()
    try:
        async with probing.looking(url, name=_NAME, seconds=STEP_SECONDS) as opened:
            server = probing.server(opened)
    except BrokerUnavailable as error:
        raise unavailable(error, URL) from error
    user, vhost = probing.who_and_where(url)
    return Passed(
        f"{server.product} {server.version} at {address(url)}, virtual host {vhost}, as {user}"
    )


def unavailable(error: BrokerUnavailable, setting: str) -> Failed:
    """The failure for a connection that could not be opened; names the setting of the address."""
    what, _, remedy = with_setting(error, setting).partition("; ")
    return Failed(what, remedy, Cause.UNREACHABLE)


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
        found.append(DECLARE)
    return found


def _topology_failed(rows: list[Row], url: str) -> Failed:
    missing = [f"{row.kind} {row.name}" for row in rows if row.state == "missing"]
    differing = {f"{row.kind} {row.name}": row.detail for row in rows if row.state == "differs"}
    what = [absence(missing)[0]] if missing else []
    if differing:
        what.append(f"made otherwise than wanted: {', '.join(differing)}")
    notes = tuple(f"{title}: {detail}" for title, detail in differing.items())
    return Failed("; ".join(what), "; then ".join(remedies(rows, url)), notes=notes)


# --- rights ---


async def permissions(settings: Settings) -> Passed:
    """The worker may read its queues and write its exchanges; other rights are noted."""
    url = settings.current_amqp_url()
    retries = [retry_exchange(delay.text) for delay in settings.retry.delays]
    try:
        async with probing.looking(url, name=_NAME, seconds=STEP_SECONDS) as opened:
            depths = await probing.depths(opened, (PARKED, *LANE_QUEUES.values()))
            if not await probing.readable(opened, depths):
                detail, _, remedy = probing.NO_MAJORITY.partition(". ")
                raise Failed(detail, remedy, Cause.UNREACHABLE)
            lacking = await rights.lacking(opened, retries)
            surplus = await rights.surplus(opened)
    except BrokerLost as error:
        remedy = (
            "look for a memory or disk alarm: `rabbitmq-diagnostics alarms`, or the broker's log"
        )
        raise Failed(str(error), remedy, Cause.UNREACHABLE) from error
    except BrokerUnavailable as error:
        raise unavailable(error, URL) from error
    user, _ = probing.who_and_where(url)
    match _whose(lacking, surplus):
        case "operator":
            return Passed(
                f"{user} may write {INTERNAL}, as people on call need it for replays; what workers "
                "need is seen where one runs"
            )
        case "publisher":
            raise for_workers("publisher")
    if lacking:
        raise Failed(*rights.fault(url, lacking))
    more = f"{user} may do more than the worker needs: {', '.join(surplus)}"
    return Passed(f"{user} may read its queues and write its exchanges", (more,) if surplus else ())


def _whose(lacking: Sequence[str], surplus: Sequence[str]) -> str | None:
    """Whose rights they are, if not a worker's: nobody else of ours may read a lane."""
    if not all(f"read {queue}" in lacking for queue in LANE_QUEUES.values()):
        return None
    if f"write {INTERNAL}" not in lacking:
        return "operator"
    return "publisher" if f"write {PUBLIC}" in surplus else None
