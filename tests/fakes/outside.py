"""Stand-ins for what surrounds the runtime: AWS, the broker, the sealer, the metrics."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.core.exceptions import LedgerUnavailable, NotConfirmed
from worker.core.records import Answer, Lane
from worker.core.token.incoming import shortened
from worker.ports import OutboxTurn
from worker.runtime.token.acks import AckAfterConfirm
from worker.runtime.token.answer_log import AnswerLog
from worker.runtime.token.event_outbox import EventOutbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.clock import Reading
    from worker.core.records import Fault, Token
    from worker.core.token.incoming import Incoming
    from worker.core.token.outgoing import Kind, Outgoing
    from worker.core.token.refused_rows import KeptAs
    from worker.core.token.replies import Loss
    from worker.ports import ConfirmedPublisher, PublishFailure, PublishResult


class FakeMarketplace:
    """AWS by script: each token's results in turn, the last again and again; else resolved.

    Attributes:
        results: What is answered for a token.
        latency: Seconds that a call takes.
        hanging: While true a call is never answered.
        probes: What probes find, in turn; then nothing wrong.
        calls: Tokens called for, in order, with the loop's time.
        name: Whose calls they are.
        unconfirmed: Why it can't be said who calls, if it can't.
        date: What AWS's clock said in its last answer.
        confirming_seconds: How long it takes to find out who calls.
    """

    def __init__(self) -> None:
        self.results: dict[str, deque[Answer | Fault | Exception]] = defaultdict(deque)
        self.latency = 0.0
        self.hanging = False
        self.probes: deque[Fault | None] = deque()
        self.unconfirmed: Fault | None = None
        self.confirming_seconds = 0.0
        self.name = "somebody"
        self.date: Reading | None = None
        self.calls: list[tuple[float, str]] = []
        self.probed: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0

    def script(self, token: str, *results: Answer | Fault | Exception) -> None:
        """Answer a token with these, in turn."""
        self.results[token].extend(results)

    @property
    def tokens(self) -> list[str]:
        """Tokens called for, in order."""
        return [token for _, token in self.calls]

    async def resolve(self, token: Token) -> Answer | Fault:
        """Answer a call."""
        self.calls.append((asyncio.get_running_loop().time(), token.value))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await (asyncio.Event().wait() if self.hanging else asyncio.sleep(self.latency))
            result = self._next(token.value)
        finally:
            self.in_flight -= 1
        if isinstance(result, Exception):
            raise result
        return result

    def _next(self, token: str) -> Answer | Fault | Exception:
        script = self.results.get(token)
        if not script:
            return Answer("product", "000000000001", license_arn=f"arn:{token}")
        return script.popleft() if len(script) > 1 else script[0]

    def identity(self) -> str:
        """Who calls."""
        return self.name

    async def check_identity(self) -> Fault | None:
        """Why the identity is none."""
        await asyncio.sleep(self.confirming_seconds)
        return self.unconfirmed

    def clock(self) -> Reading | None:
        """What AWS's clock said."""
        return self.date

    async def probe(self) -> Fault | None:
        """Look whether it is over."""
        self.probed.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency)
        return self.probes.popleft() if self.probes else None


class FakePublisher:
    """The broker's side of publishing.

    Attributes:
        refuses: Which messages are not confirmed.
        fault: Why not.
        late: Of which messages it is not known at once what became; each gets a future.
        latency: Seconds that a batch takes.
        hanging: While true nothing is ever confirmed, nor refused.
        sent: What was confirmed, in order.
        batches: How many messages each batch had.
    """

    def __init__(self) -> None:
        self.refuses: Callable[[Outgoing], bool] = lambda _: False
        self.fault: PublishFailure = NotConfirmed("refused")
        self.late: Callable[[Outgoing], bool] = lambda _: False
        self.futures: list[tuple[Outgoing, asyncio.Future[PublishFailure | None]]] = []
        self.latency = 0.0
        self.hanging = False
        self.sent: list[Outgoing] = []
        self.tried: list[tuple[float, Outgoing]] = []
        self.batches: list[int] = []

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[PublishResult]:
        """Confirm or refuse."""
        now = asyncio.get_running_loop().time()
        self.tried += [(now, message) for message in batch]
        self.batches.append(len(batch))
        await (asyncio.Event().wait() if self.hanging else asyncio.sleep(self.latency))
        fates = [self._fate(each) for each in batch]
        self.sent += [each for each, fate in zip(batch, fates, strict=True) if fate is None]
        return fates

    def _fate(self, message: Outgoing) -> PublishResult:
        if self.late(message):
            self.futures.append((message, asyncio.get_running_loop().create_future()))
            return self.futures[-1][1]
        return self.fault if self.refuses(message) else None

    def to(self, exchange: str) -> list[Outgoing]:
        """What was confirmed to one exchange."""
        return [message for message in self.sent if message.exchange == exchange]


class FakeOutbox:
    """A table of events in memory.

    Attributes:
        rows: What waits, by number.
        room: How many may wait.
        away: Why the database can't be asked, or None.
        others: Whether another replica has the turn.
        taken: Which key was looked at for how many, with the loop's time.
        expired: How many are dropped for their age at the next look.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Outgoing] = {}
        self.room = 100_000
        self.away: str | None = None
        self.others = False
        self.taken: list[tuple[float, str, int]] = []
        self.expired = 0
        self.asked = 0
        self._numbers = itertools.count(1)

    @property
    def keys(self) -> frozenset[str]:
        """Routing keys of what waits."""
        return frozenset(each.routing_key for each in self.rows.values())

    async def add(self, events: Sequence[Outgoing]) -> int:
        """Store as many as there is room for."""
        self._ask()
        stored = events[: max(0, self.room - len(self.rows))]
        self.rows |= {next(self._numbers): each for each in stored}
        return len(stored)

    async def take(self, key: str, most: int, done: Sequence[int]) -> OutboxTurn | None:
        """The oldest events of a key."""
        self._ask()
        for number in done:
            del self.rows[number]
        if self.others:
            return None
        self.taken.append((asyncio.get_running_loop().time(), key, most))
        found = [(n, each) for n, each in self.rows.items() if each.routing_key == key]
        expired, self.expired = self.expired, 0
        return OutboxTurn(tuple(found[:most]), expired)

    async def count(self) -> int:
        """How many wait."""
        self._ask()
        return len(self.rows)

    def _ask(self) -> None:
        self.asked += 1
        if self.away is not None:
            raise LedgerUnavailable(self.away)


@dataclass(eq=False)
class FakeDelivery:
    """A message lent by the broker.

    Attributes:
        acks: How often it was acked; more than once is a fault.
    """

    incoming: Incoming
    lane: Lane | None = Lane.LIVE
    arrived: float = 0.0
    alive: bool = True
    acks: int = 0
    acked: asyncio.Event = field(default_factory=asyncio.Event)

    def shorten(self, sha256: bytes | None = None) -> None:
        """Keep no more of a body that is too large than is ever sealed."""
        self.incoming = shortened(self.incoming, sha256)

    def ack(self) -> None:
        """Give up the claim."""
        assert self.alive, "an ack of a dead delivery"
        self.acks += 1
        self.acked.set()


class FakeTelemetry:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.submissions: Counter[Lane] = Counter()
        self.outcomes: Counter[tuple[str, Lane, bool]] = Counter()
        self.calls: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.oddities: Counter[str] = Counter()
        self.batches: list[int] = []
        self.waits: Counter[Lane] = Counter()
        self.resolved_waits: Counter[Lane] = Counter()
        self.losses: Counter[Loss] = Counter()
        self.refusals: Counter[Kind] = Counter()
        self.drops: Counter[Kind] = Counter()
        self.rows_refused: Counter[KeptAs] = Counter()

    def submission(self, lane: Lane) -> None:
        """A submission was settled or moved on."""
        self.submissions[lane] += 1

    def outcome(self, status: str, lane: Lane, *, repeated: bool) -> None:
        """A final answer."""
        self.outcomes[status, lane, repeated] += 1

    def waited(self, lane: Lane, seconds: float, *, resolved: bool) -> None:
        """A buyer has waited."""
        assert seconds >= 0
        self.waits[lane] += 1
        self.resolved_waits[lane] += resolved

    def lost(self, how: Loss) -> None:
        """A token was lost to us."""
        self.losses[how] += 1

    def call(self, result: str, seconds: float) -> None:
        """A call ended."""
        assert seconds >= 0
        self.calls[result] += 1

    def retry(self, reason: str) -> None:
        """Another call will be made."""
        self.retries[reason] += 1

    def written(self, rows: int, seconds: float) -> None:
        """A batch was committed."""
        assert seconds >= 0
        self.batches.append(rows)

    def odd(self, what: str) -> None:
        """Something was passed over."""
        self.oddities[what] += 1

    def refused(self, kind: Kind) -> None:
        """A queue has refused an answer."""
        self.refusals[kind] += 1

    def dropped(self, kind: Kind, answers: int) -> None:
        """Answers were given up."""
        self.drops[kind] += answers

    def row_refused(self, kept_as: KeptAs) -> None:
        """A row was refused."""
        self.rows_refused[kept_as] += 1


class FakeSealer:
    """Seals nothing; its boxes show what they hold."""

    key_id = "fake"

    def seal(self, plaintext: bytes) -> bytes:
        """The text in a box of glass."""
        return b"sealed:" + plaintext


class FakeSecrets:
    """Remembers what must be hidden."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def add(self, token: str) -> None:
        """Hide this token."""
        self.known.append(token)

    def hide(self, text: str) -> str:
        """Without the tokens."""
        for token in self.known:
            text = text.replace(token, "[hidden]") if len(token) > 3 else text
        return text


def acking(publisher: ConfirmedPublisher, telemetry: FakeTelemetry) -> AckAfterConfirm:
    """Acks over a publisher, with an outbox in memory that nobody empties."""
    answers = AnswerLog(telemetry)
    return AckAfterConfirm(publisher, EventOutbox(FakeOutbox(), publisher, answers), answers)
