"""Stand-ins for what surrounds the runtime: AWS, the broker, the sealer, the metrics."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.core.records import Answer, Lane
from worker.ports import NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.clock import Reading
    from worker.core.messages import Incoming
    from worker.core.outgoing import Outgoing
    from worker.core.records import Fault, Token


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
    """

    def __init__(self) -> None:
        self.results: dict[str, deque[Answer | Fault | Exception]] = defaultdict(deque)
        self.latency = 0.0
        self.hanging = False
        self.probes: deque[Fault | None] = deque()
        self.unconfirmed: Fault | None = None
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

    async def identity(self) -> str:
        """Who calls."""
        return self.name

    async def confirm(self) -> Fault | None:
        """Why the identity is none."""
        return self.unconfirmed

    def clock(self) -> Reading | None:
        """What AWS's clock said."""
        return self.date

    async def probe(self) -> Fault | None:
        """Look whether it is over."""
        self.probed.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency)
        return self.probes.popleft() if self.probes else None


class FakeCourier:
    """The broker's side of publishing.

    Attributes:
        refuses: Which messages are not confirmed.
        latency: Seconds that a batch takes.
        hanging: While true nothing is ever confirmed, nor refused.
        sent: What was confirmed, in order.
        batches: How many messages each batch had.
    """

    def __init__(self) -> None:
        self.refuses: Callable[[Outgoing], bool] = lambda _: False
        self.latency = 0.0
        self.hanging = False
        self.sent: list[Outgoing] = []
        self.tried: list[tuple[float, Outgoing]] = []
        self.batches: list[int] = []

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[NotConfirmed | None]:
        """Confirm or refuse."""
        now = asyncio.get_running_loop().time()
        self.tried += [(now, message) for message in batch]
        self.batches.append(len(batch))
        await (asyncio.Event().wait() if self.hanging else asyncio.sleep(self.latency))
        fates = [NotConfirmed("refused") if self.refuses(each) else None for each in batch]
        self.sent += [each for each, fate in zip(batch, fates, strict=True) if fate is None]
        return fates

    def to(self, exchange: str) -> list[Outgoing]:
        """What was confirmed to one exchange."""
        return [message for message in self.sent if message.exchange == exchange]


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

    async def ack(self) -> None:
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

    def submission(self, lane: Lane) -> None:
        """A submission was settled or moved on."""
        self.submissions[lane] += 1

    def outcome(self, status: str, lane: Lane, *, repeated: bool, waited: float) -> None:
        """A final answer."""
        assert waited >= 0
        self.outcomes[status, lane, repeated] += 1

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
