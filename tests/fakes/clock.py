"""A loop whose clock leaps to the next timer: hours of waiting in no time, always the same."""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Params = ParamSpec("Params")


class Deadlock(RuntimeError):
    """Everybody waits, and no timer will ever wake anyone."""


class _Leaping(selectors.SelectSelector):
    """Instead of waiting for a time it lets the clock leap there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Only what is ready now; the time to wait is over at once."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Deadlock("nothing is scheduled that could end the wait")
            self.now += max(0.0, timeout)
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._leaping.now


def leaping(
    test: Callable[Params, Coroutine[Any, Any, None]],
) -> Callable[Params, None]:
    """Run an asynchronous test on virtual time."""

    @functools.wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def settle(turns: int = 50) -> None:
    """Let everything that is ready run, without letting time pass."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], every: float = 0.01) -> None:
    """Let time pass until something is so; the test's own bound ends it if it never is."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(every)
    raise AssertionError("it never came to be so")
