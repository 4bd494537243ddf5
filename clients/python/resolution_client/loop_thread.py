"""An event loop in a thread of its own, with a resolver in it."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from resolution_client.answers import Answer, Outcome
    from resolution_client.submission import FormOptions, Options

_T = TypeVar("_T")
GRACE_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0


class Answers(Protocol):
    """What `settled` returns."""

    def __aiter__(self) -> Self:
        """Begin anew: what was given before is not done."""
        ...

    async def __anext__(self) -> Outcome:
        """The next answer; what was given before is done."""
        ...

    async def aclose(self) -> None:
        """End it; what was given last is not done."""
        ...


class Asynchronous(Protocol):
    """What is called through a thread: `Resolver`, or a fake of it."""

    async def __aenter__(self) -> Self:
        """Open it."""
        ...

    async def close(self) -> None:
        """End it."""
        ...

    async def resolve(self, token: str, *, wait: float = ..., **options: Unpack[Options]) -> Answer:
        """Submit a token."""
        ...

    async def resolve_form(
        self, form: Mapping[str, Any], *, wait: float = ..., **options: Unpack[FormOptions]
    ) -> Answer:
        """Submit the token in a form."""
        ...

    def settled(self, queue: str, *, bound: int = ...) -> Answers:
        """All answers to this caller."""
        ...


class LoopThread:
    """An event loop in a thread, with an open resolver."""

    def __init__(self, make: Callable[[], Asynchronous]) -> None:
        self.loop = asyncio.new_event_loop()
        self._lock = threading.RLock()  # the collector may call `forget` at any moment
        self._pid = os.getpid()
        self._closed = False
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="resolution-client", daemon=True
        )
        self._thread.start()
        self.resolver = self.run(_opened(make), CLOSE_SECONDS)

    def run(self, call: Coroutine[Any, Any, _T], seconds: float | None = None) -> _T:
        """Run it in the loop, and wait for no longer than that.

        Raises:
            TimeoutError: It takes longer; it was cancelled.
            CancelledError: The loop has ended, or ends.
        """
        with self._lock:  # what is given to the loop before it is told to end is seen to by it
            if self._closed:
                call.close()
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(call, self.loop)
        try:
            return future.result(seconds)
        except BaseException:  # KeyboardInterrupt as well
            future.cancel()
            raise

    def forget(self, answers: Answers) -> None:
        """Give back what nobody has finished, and wait for nothing."""
        with self._lock:
            if not self._closed and self._pid == os.getpid():
                asyncio.run_coroutine_threadsafe(answers.aclose(), self.loop)

    def close(self) -> None:
        """End it; whoever waits gets an answer or `CancelledError`."""
        with self._lock:
            self._closed = True
        ending = asyncio.run_coroutine_threadsafe(_ended(self.resolver), self.loop)
        with suppress(NotInTime, CancelledError):
            ending.result(CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()


async def _opened(make: Callable[[], Asynchronous]) -> Asynchronous:
    return await make().__aenter__()


async def _ended(resolver: Asynchronous) -> None:
    """Close it, and let all that threads wait for come to its end."""
    await resolver.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, unfinished = await asyncio.wait(others, timeout=GRACE_SECONDS)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
