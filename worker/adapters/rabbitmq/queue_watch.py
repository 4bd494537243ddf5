"""Watches the queues that nobody consumes: whether they are there, how full, and still in use."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog
from pamqp.commands import Basic

from worker.adapters.rabbitmq.connection import (
    ACCESS_REFUSED,
    NOT_FOUND,
    ChannelRefused,
    bounded,
)
from worker.adapters.rabbitmq.declaration import is_absent, missing
from worker.adapters.rabbitmq.reconnecting import TopologyMissing, open_wire
from worker.adapters.rabbitmq.topology import STATE, Queue, absence
from worker.core.token import keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

    from worker.adapters.rabbitmq.topology import Exchange, Topology

log: Final = structlog.get_logger()

_RPC_SECONDS: Final = 10.0


class QueueWatch:
    """Watches the retry queues over the connection that consumes.

    Args:
        stays: By queue, for how many seconds a message stays in it.
        replicas: How many replicas watch them.
        seen: Told after each look which queues are there, and which are not.
    """

    def __init__(
        self,
        stays: Mapping[str, float],
        replicas: Callable[[], int] = lambda: 1,
        seen: Callable[[Collection[str], Collection[str]], None] = lambda _, __: None,
    ) -> None:
        self._stays = stays
        self._replicas = replicas
        self._seen = seen
        self._due = dict.fromkeys(stays, float("-inf"))
        self._connection: AbstractConnection | None = None
        self._wire: Wire | None = None

    @property
    def queues(self) -> Collection[str]:
        """The queues that it watches."""
        return self._stays.keys()

    async def begin(self, connection: AbstractConnection, topology: Topology) -> None:
        """Watch over this connection, if all is there that consuming needs.

        That is all other queues, and all exchanges but the one on which callers hear how calls
        stand: that it is missing is told by who publishes there (`state_channel`).

        Raises:
            TopologyMissing: Something is not.
            BrokerLost: The connection was lost on the way.
        """
        self._connection, self._wire = connection, None
        absent = await missing(connection, topology)
        queues = {item.name for item in absent if isinstance(item, Queue)}
        self._seen({queue.name for queue in topology.queues} - queues, queues)
        if any(self._is_needed(item) for item in absent):
            raise TopologyMissing("; ".join(absence(item.title for item in absent)))

    def _is_needed(self, item: Exchange | Queue) -> bool:
        return item.name not in self._stays if isinstance(item, Queue) else item.name != STATE

    async def look(self) -> dict[str, int]:
        """How many messages wait in each queue that is there. Uses those that are due.

        Raises:
            BrokerLost: The connection was lost on the way.
        """
        found = {queue: await self._look(queue) for queue in self._stays}
        there = {queue: ready for queue, ready in found.items() if ready is not None}
        self._seen(there.keys(), found.keys() - there.keys())
        return there

    async def _look(self, queue: str) -> int | None:
        try:
            wire = await self._open()
            declared = await bounded(wire.queue_declare(queue, passive=True), _RPC_SECONDS)
        except ChannelRefused as refusal:
            if is_absent(refusal):
                return None
            raise
        await self._use_if_due(wire, queue)
        return declared.message_count or 0

    async def _open(self) -> Wire:
        """A channel of its own, which a refusal closes."""
        assert self._connection is not None
        if self._wire is None or self._wire.is_closed:
            self._wire = await open_wire(self._connection)
        return self._wire

    async def _use_if_due(self, wire: Wire, queue: str) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._due[queue]:
            return
        draw = random.random()  # noqa: S311 - spread
        self._due[queue] = now + keeping.next_use(self._stays[queue], self._replicas(), draw)
        try:
            taken = await bounded(wire.basic_get(queue), _RPC_SECONDS)
            if isinstance(taken.delivery, Basic.GetOk):
                tag = taken.delivery.delivery_tag or 0
                await bounded(wire.basic_nack(tag, requeue=True, wait=False), _RPC_SECONDS)
        except ChannelRefused as refusal:
            if refusal.code == ACCESS_REFUSED:
                self._due[queue] = float("inf")
                log.warning("queue_not_kept", queue=queue, reason=refusal.words, remedy=_REMEDY)
            elif refusal.code != NOT_FOUND:
                raise


_REMEDY: Final = (
    "without the right to read it, this replica can't keep it from a policy with `expires`, which "
    "deletes it with the tokens in it: run deploy/rabbitmq/create-users.sh, or "
    "`resolution-worker topology users`"
)
