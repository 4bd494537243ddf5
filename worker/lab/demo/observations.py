"""What is observed of a run: its events and replies on the broker, its rows in the database."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from worker.adapters.postgres.sessions import close_quietly, connector
from worker.adapters.rabbitmq.connection import bounded, connected
from worker.core.exceptions import BrokerLost, LedgerUnavailable
from worker.core.token.outgoing import ANSWERS, EVENTS
from worker.lab.demo.kinds import Answer
from worker.lab.servers import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

    from worker.lab.demo.messages import Plan

    Row = Mapping[str, Any]

_RPC_SECONDS: Final = 10.0


@dataclass(slots=True)
class Event:
    """The events about one message.

    Attributes:
        received_at: When the buyer's browser delivered the token, as the first event has it.
        settled_at: When its outcome was decided, likewise.
        arrived_at: When that event arrived here.
        count: How many events there were; those of a killed worker may be published again.
        answers: Every different answer in them.
    """

    received_at: datetime
    settled_at: datetime
    arrived_at: datetime
    count: int = 0
    answers: set[Answer] = field(default_factory=set)


@dataclass(slots=True)
class Received:
    """All events and replies, by message id.

    Attributes:
        events: What came on `resolution.events`.
        replies: The answers in replies, each with its correlation id.
    """

    events: dict[str, Event] = field(default_factory=dict)
    replies: defaultdict[str, set[tuple[Answer, str | None]]] = field(
        default_factory=lambda: defaultdict(set)
    )


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of a run in the views of those names."""

    outcomes: Sequence[Row]
    agreements: Sequence[Row]
    malformed: Sequence[Row]


class Listener:
    """Collects the events and replies of one run.

    Attributes:
        received: What has come so far.
    """

    def __init__(self, connection: AbstractConnection, plan: Plan) -> None:
        self._connection = connection
        self._plan = plan
        self.received = Received()

    async def start(self) -> None:
        """Consume events and replies from now on.

        Raises:
            BrokerLost: The broker does not allow it.
        """
        channel = self._connection.channel()
        await bounded(channel.initialize(), _RPC_SECONDS)
        await _consume(channel, EVENTS, "#", self._on_event)
        await _consume(channel, ANSWERS, self._plan.reply_to, self._on_reply)

    def check(self) -> None:
        """Check that events still arrive.

        Raises:
            BrokerLost: They don't.
        """
        if self._connection.is_closed:
            raise BrokerLost("the connection to the broker, on which events come, was lost")

    async def _on_event(self, message: AbstractIncomingMessage) -> None:
        message_id = message.message_id or ""
        if not message_id.startswith(f"{self._plan.run}-"):
            return  # another publisher's, on a broker that is not ours alone
        outcome = msgspec.json.decode(message.body)
        new = Event(
            datetime.fromisoformat(outcome["received_at"]),
            datetime.fromisoformat(outcome["settled_at"]),
            arrived_at=datetime.now(UTC),
        )
        event = self.received.events.setdefault(message_id, new)
        event.count += 1
        event.answers.add(_answer(outcome))

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        reply = (_answer(msgspec.json.decode(message.body)), message.correlation_id)
        self.received.replies[message.message_id or ""].add(reply)


def _answer(outcome: Mapping[str, Any]) -> Answer:
    error = outcome["error"]
    return Answer(outcome["status"], error and error["code"])


async def _consume(
    channel: AbstractChannel,
    exchange: str,
    key: str,
    callback: Callable[[AbstractIncomingMessage], Awaitable[None]],
) -> None:
    # Exclusive: it goes with this connection, however that ends.
    queue = await bounded(channel.declare_queue(exclusive=True), _RPC_SECONDS)
    await bounded(queue.bind(exchange, key), _RPC_SECONDS)
    await bounded(queue.consume(callback, no_ack=True), _RPC_SECONDS)


@asynccontextmanager
async def listening(url: str, plan: Plan) -> AsyncIterator[Listener]:
    """Listen until the block ends.

    Raises:
        BrokerUnavailable: There is no connection.
        BrokerLost: The broker does not allow it.
    """
    async with connected(url, name="resolution-worker demo") as connection:
        listener = Listener(connection, plan)
        await listener.start()
        yield listener


_OUTCOMES: Final = "SELECT * FROM resolution.outcomes WHERE token_sha256 = ANY($1::bytea[])"
_AGREEMENTS: Final = """
SELECT * FROM resolution.agreements
WHERE license_arn = ANY($1::text[])
    OR (license_arn IS NULL AND customer_aws_account_id = ANY($2::text[]))
"""
_MALFORMED: Final = "SELECT * FROM resolution.malformed WHERE message_id LIKE $1"


async def read_records(dsn: str, plan: Plan) -> Records:
    """Read all rows of a run.

    Raises:
        ServiceError: The database can't be read.
    """
    tokens = list({one.sha256 for one in plan.submissions})
    try:
        connection: Any = await connector(lambda: dsn, connect_seconds=30, command_seconds=60)()
        try:
            outcomes = await connection.fetch(_OUTCOMES, tokens)
            licences = [row["license_arn"] for row in outcomes if row["license_arn"]]
            others = [row["customer_aws_account_id"] for row in outcomes if not row["license_arn"]]
            agreements = await connection.fetch(_AGREEMENTS, licences, others)
            malformed = await connection.fetch(_MALFORMED, f"{plan.run}-%")
        finally:
            await close_quietly(connection, 5)
    except (LedgerUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ServiceError(f"the account can't be read from the database: {error}") from error
    return Records(outcomes, agreements, malformed)
