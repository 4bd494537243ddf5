"""What a worker must be allowed on the broker, and what of it its user is not.

`check` looks at all rights. A worker looks once the broker has refused it something: each look
leaves a line in the broker's log.
"""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import probing
from worker.adapters.rabbitmq.connection import ACCESS_REFUSED, ChannelRefused
from worker.adapters.rabbitmq.permissions import ROLES
from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED, PUBLIC, STATE, Exchange
from worker.core.exceptions import BrokerLost, SetupFault
from worker.core.token.outgoing import ANSWERS, EVENTS, INTERNAL
from worker.core.token.submissions import REPLY_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from aio_pika.abc import AbstractConnection

_ANSWER_KEY: Final = f"{REPLY_PREFIX}resolution-worker.check"


class RightsMissing(SetupFault):
    """The user lacks rights that a worker needs; the message names them and the remedy."""


async def lacking(opened: AbstractConnection, retries: Iterable[str]) -> tuple[str, ...]:
    """The rights that a worker needs and the user of a connection lacks. Changes nothing.

    Args:
        opened: The connection.
        retries: The retry queues.

    Raises:
        BrokerLost: The connection was lost on the way, or the broker fell silent.
    """
    retries = tuple(retries)
    reads = (*LANE_QUEUES.values(), PARKED, *retries)
    found = [f"read {each}" for each in reads if not await probing.may_read(opened, each)]
    found += [
        f"write {each}"
        for each in (INTERNAL, *retries, EVENTS, STATE)
        if not await probing.may_write(opened, each)
    ]
    if not await probing.may_write(opened, ANSWERS, _ANSWER_KEY):
        found.append(f"write {ANSWERS} under keys {REPLY_PREFIX}…")
    return tuple(found)


async def surplus(opened: AbstractConnection) -> tuple[str, ...]:
    """The rights that the user has beyond those that a worker needs.

    Raises:
        BrokerLost: As above.
    """
    found = []
    if await probing.may_declare(opened, Exchange(PUBLIC, "direct")):
        found.append("declare exchanges and queues")
    if await probing.may_write(opened, PUBLIC):
        found.append(f"write {PUBLIC}")
    if await probing.may_write(opened, ""):
        found.append("write any queue through the default exchange")
    return tuple(found)


def fault(url: str, missing: Iterable[str]) -> tuple[str, str]:
    """That rights are missing, and the command that gives a worker's user all it needs.

    Args:
        url: The broker's address; only its user and virtual host are shown.
        missing: The rights.
    """
    user, vhost = probing.who_and_where(url)
    given = ROLES["resolution_worker"]
    patterns = (given.configure, given.write, given.read)
    command = shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, user, *patterns])
    return f"{user} may not {', '.join(missing)}", f"run `{command}` (see deploy/rabbitmq)"


@asynccontextmanager
async def explaining(
    opened: AbstractConnection, url: str, retries: Iterable[str]
) -> AsyncIterator[None]:
    """Tell of a refused access all rights that are missing.

    Args:
        opened: The connection used in the block.
        url: Its address.
        retries: The retry queues.

    Raises:
        RightsMissing: The broker refused access in the block.
    """
    try:
        yield
    except ChannelRefused as refusal:
        if refusal.code != ACCESS_REFUSED:
            raise
        try:
            missing = await lacking(opened, retries)
        except BrokerLost:
            raise refusal from None
        if not missing:
            raise
    else:
        return
    raise RightsMissing("; ".join(fault(url, missing)))
