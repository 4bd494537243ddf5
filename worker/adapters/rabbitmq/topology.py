"""The exchanges, queues and bindings, as data.

What a queue needs is written as arguments and not as policies: `declare` speaks nothing but AMQP,
in which policies can't be set; and an argument can't be taken away from a running queue by
accident. The price is that a change needs a new queue (`topology show` names what differs).

Two of the arguments have a history:

* `x-delivery-limit` of the parked queue is out of reach instead of absent. RabbitMQ 3.10 knows no
  limit unless told, but from 4.0 a message is dropped for good after 20 returns; and -1, which
  means "none" to 4.0, is taken literally by 3.10: a message is dropped at its first return.
* The retry queues have no `x-dead-letter-routing-key`, so that a message comes back under the key
  it was published with: into its own lane. That is why each has a fanout exchange of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core.records import Lane
from worker.core.token.outgoing import ANSWERS, EVENTS, INTERNAL, retry_exchange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PUBLIC: Final = "resolution"
TOKENS: Final = "resolution.tokens"
BACKLOG: Final = "resolution.backlog"
CROWD: Final = "resolution.crowd"
PARKED: Final = "resolution.parked"
PARKED_KEY: Final = "parked"
STATE: Final = "resolution.state"
FORMER_ANSWERS: Final = "resolution.replies"
"""Where replies went before `resolution.answers`: a direct exchange, on which anybody who may bind
can bind anybody's key. Where it is there it gets all replies too, for one release."""

MAX_MESSAGES: Final = 2_000_000
DELIVERY_LIMIT: Final = 100
UNREACHABLE_DELIVERY_LIMIT: Final = 1_000_000_000

LANE_QUEUES: Final[Mapping[Lane, str]] = {
    Lane.LIVE: TOKENS,
    Lane.BACKLOG: BACKLOG,
    Lane.CROWD: CROWD,
}


DECLARE: Final = "run `resolution-worker topology declare` with the same WORKER_RETRY__DELAYS"


def absence(titles: Iterable[str]) -> tuple[str, str]:
    """That exchanges and queues are missing, and what to do about it.

    Args:
        titles: Of each what it is, and its name.
    """
    return f"missing on the broker: {', '.join(sorted(titles))}", DECLARE


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `kind` is direct, fanout or topic."""

    name: str
    kind: str

    @property
    def title(self) -> str:
        """For a person: what it is, and its name."""
        return f"exchange {self.name}"


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue with its arguments."""

    name: str
    arguments: Mapping[str, str | int] = field(hash=False)

    @property
    def title(self) -> str:
        """As of an exchange."""
        return f"queue {self.name}"


@dataclass(frozen=True, slots=True)
class Binding:
    """From an exchange into a queue under a routing key."""

    exchange: str
    queue: str
    key: str

    @property
    def name(self) -> str:
        """For a person: `exchange -key-> queue`."""
        return f"{self.exchange} -{self.key}-> {self.queue}"


@dataclass(frozen=True, slots=True)
class Topology:
    """All that has to exist on the broker, in the order in which it can be declared."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]

    @property
    def objects(self) -> tuple[Exchange | Queue, ...]:
        """Exchanges, then queues."""
        return (*self.exchanges, *self.queues)


def topology(delays: Mapping[str, float]) -> Topology:
    """What has to exist.

    Args:
        delays: The retry queues: the delay as it is spelt in their names, and its seconds.
    """
    return Topology(
        exchanges=(
            Exchange(PUBLIC, "direct"),
            Exchange(INTERNAL, "direct"),
            Exchange(ANSWERS, "topic"),
            Exchange(EVENTS, "topic"),
            Exchange(STATE, "fanout"),
            *(Exchange(retry_exchange(delay), "fanout") for delay in delays),
        ),
        queues=(
            *(_lane_queue(name) for name in LANE_QUEUES.values()),
            _parked_queue(),
            *(_retry_queue(delay, seconds) for delay, seconds in delays.items()),
        ),
        bindings=tuple(_bindings(delays)),
    )


_COMMON: Final[Mapping[str, str | int]] = {
    "x-queue-type": "quorum",
    "x-max-length": MAX_MESSAGES,
    "x-overflow": "reject-publish",
}


def _lane_queue(name: str) -> Queue:
    dead_lettering: dict[str, str | int] = {
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": INTERNAL,
        "x-dead-letter-routing-key": PARKED_KEY,
        "x-dead-letter-strategy": "at-least-once",
    }
    return Queue(name, {**_COMMON, **dead_lettering})


def _parked_queue() -> Queue:
    return Queue(PARKED, {**_COMMON, "x-delivery-limit": UNREACHABLE_DELIVERY_LIMIT})


def _retry_queue(delay: str, seconds: float) -> Queue:
    waiting: dict[str, str | int] = {
        "x-message-ttl": round(seconds * 1000),
        "x-dead-letter-exchange": INTERNAL,
        "x-dead-letter-strategy": "at-least-once",
    }
    return Queue(retry_exchange(delay), {**_COMMON, **waiting})


def _bindings(delays: Mapping[str, float]) -> Iterator[Binding]:
    for lane, queue in LANE_QUEUES.items():
        if lane is not Lane.CROWD:  # nobody but a worker sends anything there
            yield Binding(PUBLIC, queue, lane.value)
        yield Binding(INTERNAL, queue, lane.value)
    yield Binding(INTERNAL, PARKED, PARKED_KEY)
    for delay in delays:
        yield Binding(retry_exchange(delay), retry_exchange(delay), "")
