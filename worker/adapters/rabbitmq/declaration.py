"""Bringing the topology about on a broker, and seeing how far it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from worker.adapters.rabbitmq.connection import (
    ACCESS_REFUSED,
    NOT_FOUND,
    PRECONDITION_FAILED,
    ChannelRefused,
    bounded,
    connected,
)
from worker.adapters.rabbitmq.topology import FORMER_ANSWERS, Exchange, Queue
from worker.core.exceptions import SetupFault
from worker.core.token.outgoing import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aio_pika.abc import AbstractChannel, AbstractConnection
    from aiormq.abc import AbstractChannel as Wire
    from pamqp.common import FieldValue

    from worker.adapters.rabbitmq.topology import Binding, Topology

_T = TypeVar("_T")
_RPC_SECONDS: Final = 10.0


class TopologyFault(SetupFault):
    """Some objects could not be declared; one line each, with what to do.

    Attributes:
        faults: The lines.
        done: What was declared all the same.
    """

    def __init__(self, faults: list[str], done: list[Declared]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.done = done


@dataclass(frozen=True, slots=True)
class Declared:
    """What `declare` did about one object: `created`, `unchanged` or `bound`."""

    kind: str
    name: str
    action: str


@dataclass(frozen=True, slots=True)
class Row:
    """How one object stands on the broker.

    Attributes:
        kind: `exchange` or `queue`.
        state: `ok`, `missing`, `differs`, or `unchecked` where the broker refuses to tell.
        detail: The first difference, in the broker's words.
        messages: Ready messages of a queue, else None.
        consumers: Consumers of a queue, else None.
    """

    kind: str
    name: str
    state: str
    detail: str = ""
    messages: int | None = None
    consumers: int | None = None


class _Asker:
    """Asks the broker on one channel after another: a refusal closes the channel it came on."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None

    async def ask(self, request: Callable[[Wire], Awaitable[_T]]) -> _T:
        if self._channel is None or self._channel.is_closed:
            opening = self._connection.channel(publisher_confirms=False)
            self._channel = await bounded(_opened(opening), _RPC_SECONDS)
        return await bounded(request(await self._channel.get_underlay_channel()), _RPC_SECONDS)

    async def close(self) -> None:
        if self._channel is not None and not self._channel.is_closed:
            await bounded(self._channel.close(), _RPC_SECONDS)


async def _opened(channel: AbstractChannel) -> AbstractChannel:
    await channel.initialize()
    return channel


async def declare(url: str, topology: Topology) -> list[Declared]:
    """Declare everything; what is already there and equal stays as it is. Deletes nothing.

    Returns:
        What was done about each object.

    Raises:
        BrokerUnavailable: No connection.
        BrokerLost: The connection was lost on the way; safe to run again.
        TopologyFault: Some objects differ from what is there, or the user may not declare them.
            The others are declared.
    """
    done: list[Declared] = []
    faults: list[str] = []
    refused: set[str] = set()
    async with connected(url, name="resolution-worker topology declare") as connection:
        asker = _Asker(connection)
        for item in topology.objects:
            try:
                done.append(await _declare_one(asker, item))
            except ChannelRefused as refusal:
                refused.add(item.name)
                faults.append(_fault(_kind(item), item.name, refusal))
        for binding in topology.bindings:
            if refused.isdisjoint((binding.exchange, binding.queue)):
                try:
                    done.append(await _bind(asker, binding))
                except ChannelRefused as refusal:
                    faults.append(_fault("binding", binding.name, refusal))
        try:
            done += await _bind_former(asker)
        except ChannelRefused as refusal:
            faults.append(_fault("binding", f"{ANSWERS} -#-> {FORMER_ANSWERS}", refusal))
    if faults:
        raise TopologyFault(faults, done)
    return done


async def show(url: str, topology: Topology) -> list[Row]:
    """How each exchange and queue stands, changing nothing.

    A passive declaration finds what is missing; only an active one, made once the object is known
    to be there, finds a difference. Bindings can't be read over AMQP; `declare` makes them anew.

    Raises:
        BrokerUnavailable: No connection.
        BrokerLost: The connection was lost on the way.
    """
    async with connected(url, name="resolution-worker topology show") as connection:
        asker = _Asker(connection)
        return [await _row(asker, item) for item in topology.objects]


async def missing(connection: AbstractConnection, topology: Topology) -> list[Exchange | Queue]:
    """The exchanges and queues that are not there, for a user who may declare nothing.

    Raises:
        BrokerLost: The connection was lost on the way.
    """
    asker = _Asker(connection)
    absent: list[Exchange | Queue] = []
    for item in topology.objects:
        try:
            await asker.ask(_passively(item))
        except ChannelRefused as refusal:
            # Newer brokers refuse to tell a user who has no right at all on an object; whether
            # the rights suffice shows in its use.
            if is_absent(refusal):
                absent.append(item)
            elif refusal.code == NOT_FOUND:
                raise
    await asker.close()
    return absent


def is_absent(refusal: ChannelRefused) -> bool:
    """Whether something is not there; a queue whose node is down is not found either."""
    return refusal.code == NOT_FOUND and any(words in refusal.words for words in _ABSENT)


_ABSENT: Final = ("no queue ", "no exchange ")


def _kind(item: Exchange | Queue) -> str:
    return "exchange" if isinstance(item, Exchange) else "queue"


def _passively(item: Exchange | Queue) -> Callable[[Wire], Awaitable[object]]:
    if isinstance(item, Queue):
        return lambda wire: wire.queue_declare(item.name, passive=True)
    return lambda wire: wire.exchange_declare(item.name, exchange_type=item.kind, passive=True)


def _actively(item: Exchange | Queue) -> Callable[[Wire], Awaitable[object]]:
    if isinstance(item, Queue):
        arguments: dict[str, FieldValue] = {**item.arguments}
        return lambda wire: wire.queue_declare(item.name, durable=True, arguments=arguments)
    return lambda wire: wire.exchange_declare(item.name, exchange_type=item.kind, durable=True)


async def _is_there(asker: _Asker, item: Exchange | Queue) -> bool:
    try:
        await asker.ask(_passively(item))
    except ChannelRefused as refusal:
        if refusal.code != NOT_FOUND:
            raise
        return False
    return True


async def _declare_one(asker: _Asker, item: Exchange | Queue) -> Declared:
    there = await _is_there(asker, item)
    await asker.ask(_actively(item))
    return Declared(_kind(item), item.name, "unchanged" if there else "created")


async def _bind(asker: _Asker, binding: Binding) -> Declared:
    await asker.ask(lambda wire: wire.queue_bind(binding.queue, binding.exchange, binding.key))
    return Declared("binding", binding.name, "bound")


async def _bind_former(asker: _Asker) -> list[Declared]:
    """Let the exchange of the release before have all replies, where it is there."""
    former = Exchange(FORMER_ANSWERS, "direct")
    if not await _is_there(asker, former):
        return []
    await asker.ask(lambda wire: wire.exchange_bind(former.name, ANSWERS, "#"))
    return [Declared("binding", f"{ANSWERS} -#-> {former.name}", "bound")]


async def _row(asker: _Asker, item: Exchange | Queue) -> Row:
    messages = consumers = None
    try:
        found = await asker.ask(_passively(item))
        messages = getattr(found, "message_count", None)
        consumers = getattr(found, "consumer_count", None)
        await asker.ask(_actively(item))
    except ChannelRefused as refusal:
        state = _STATES.get(refusal.code, "differs")
        return Row(_kind(item), item.name, state, refusal.words, messages, consumers)
    return Row(_kind(item), item.name, "ok", "", messages, consumers)


_STATES: Final = {NOT_FOUND: "missing", ACCESS_REFUSED: "unchecked"}


def _fault(kind: str, name: str, refusal: ChannelRefused) -> str:
    return f"{kind} {name}: {refusal.words}. {_remedy(kind, name, refusal.code)}"


def _remedy(kind: str, name: str, code: int) -> str:
    if code == ACCESS_REFUSED:
        return _PERMISSION_REMEDY
    if code != PRECONDITION_FAILED:
        return "Declare again; if it persists, see the broker's log."
    if kind == "queue":
        return (
            "It was made otherwise, and nothing was changed: let it run empty, delete it "
            f"(`rabbitmqctl delete_queue {name}`) and declare again."
        )
    return f"It was made otherwise, and nothing was changed: delete the {kind} and declare again."


_PERMISSION_REMEDY: Final = (
    r"Declaring needs configure, write and read on ^resolution(\..+)?$ in this virtual host: point "
    "WORKER_AMQP__ADMIN_URL at a user who has them (see deploy/rabbitmq)."
)
