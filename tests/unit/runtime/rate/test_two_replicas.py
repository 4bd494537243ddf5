"""Two replicas of one fleet, of which AWS refuses now one, now the other, now both, now none."""

from __future__ import annotations

import asyncio
import bisect
import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.clock import leaping
from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import FakeMarketplace
from tests.fakes.records import POLICY
from tests.fakes.worker import FakeWorker
from worker.core.records import Answer, Fault, FaultKind, Status, Token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

REFUSED = Fault(FaultKind.SYSTEMIC, "InvalidSignatureException", "not you")
_SECONDS = 30.0
_TOKENS = 120


class MoodyMarketplace(FakeMarketplace):
    """Refuses all of a replica's calls from one instant to the next, then accepts all, and so on.

    Args:
        turns: When it changes its mind, in seconds of the loop's clock.
        own: Tokens that it refuses always, whoever calls.
    """

    def __init__(self, turns: Sequence[float], own: frozenset[str]) -> None:
        super().__init__()
        self._turns = sorted(turns)
        self._own = own
        self.latency = 0.02

    def _mood(self) -> Fault | None:
        refusing = bisect.bisect(self._turns, asyncio.get_running_loop().time()) % 2
        return REFUSED if refusing else None

    async def resolve(self, token: Token) -> Answer | Fault:
        """As the moment has it."""
        answer = await super().resolve(token)
        return self._mood() or (REFUSED if token.value in self._own else answer)

    async def probe(self) -> Fault | None:
        """As the moment has it."""
        await super().probe()
        return self._mood()


@asynccontextmanager
async def two(
    turns: Sequence[Sequence[float]], own: frozenset[str]
) -> AsyncIterator[list[FakeWorker]]:
    """Two workers on one ledger and one fleet, each with AWS's moods of its own."""
    fleet, ledger = FakeFleet(), FakeLedger()
    async with AsyncExitStack() as stack:
        made = []
        for name, moods in zip(("one", "other"), turns, strict=True):
            worker = FakeWorker(
                POLICY,
                8,
                None,
                fleet=fleet,
                ledger=ledger,
                name=name,
                aws=MoodyMarketplace(moods, own),
            )
            running = asyncio.create_task(worker.pipeline.run())
            stack.callback(running.cancel)
            made.append(worker)
        yield made


def _broker(workers: list[FakeWorker]) -> None:
    """Hand what was given back to its lane to the other replica, as a broker would."""
    for giver, taker in (workers, workers[::-1]):
        for sent in giver.publisher.sent:
            if sent.exchange == "resolution.internal":
                taker.deliver(
                    "",
                    content=sent.body,
                    message_id=sent.message_id,
                    headers=dict(sent.headers),
                    internal=True,
                )
        giver.publisher.sent = [
            sent for sent in giver.publisher.sent if sent.exchange != "resolution.internal"
        ]


# Few turns with long spells, or many with spells of about a second.
TURNS = st.one_of(
    st.lists(st.floats(0.0, _SECONDS), max_size=8),
    st.builds(
        lambda seed, mean: _many_turns(random.Random(seed), mean),
        st.integers(0, 2**32),
        st.floats(0.5, 1.5),
    ),
)


def _many_turns(chance: random.Random, mean: float) -> list[float]:
    return [chance.uniform(0.0, _SECONDS) for _ in range(int(_SECONDS / mean))]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(TURNS, TURNS, st.integers(0, 2**32))
def test_a_fault_of_ours_settles_no_token(
    first: list[float], second: list[float], seed: int
) -> None:
    """Whatever the order in which two replicas are refused and accepted, every token resolves."""

    @leaping
    async def run() -> None:
        chance = random.Random(seed)
        async with two((first, second), frozenset()) as workers:
            for number in range(_TOKENS):
                chance.choice(workers).deliver(f"t{number}")
                await asyncio.sleep(chance.random() * 2 * _SECONDS / _TOKENS)
                _broker(workers)
            for _ in range(200):
                await asyncio.sleep(1.0)
                _broker(workers)
                if len(workers[0].ledger.outcomes) == _TOKENS:
                    break
            # Both may be refused for ever, by the end of their turns.
            settled = workers[0].ledger.outcomes.values()
            assert {each.status for each in settled} <= {Status.RESOLVED}
            able = [len(turns) % 2 == 0 for turns in (first, second)]
            assert len(settled) == _TOKENS or not any(able)

    run()


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_token_that_alone_is_refused_is_dead_whoever_else_is_sick(seed: int) -> None:
    """With one replica sick throughout, the other still finds the token that is its own fault."""

    @leaping
    async def run() -> None:
        chance = random.Random(seed)
        async with two(([0.0], []), frozenset({"t7"})) as workers:
            for number in range(_TOKENS):
                chance.choice(workers).deliver(f"t{number}")
                await asyncio.sleep(chance.random() / 4)
                _broker(workers)
            settled = {key: each.status for key, each in workers[0].ledger.outcomes.items()}
            dead = [key for key, status in settled.items() if status is Status.DEAD]
            assert [key.sha256 for key in dead] == [Token.of("t7").sha256]

    run()
