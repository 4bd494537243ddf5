"""The same for threads: a resolver that is called plainly, from Flask or Django say.

One thread of its own runs the event loop; any number of threads may call. It is opened by the first
call, so it may stand at a module's top level; a process that was forked opens one of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, Unpack

from resolution_client import address
from resolution_client.errors import Closed, NotPublished, ResolverError
from resolution_client.resolver import DEFAULT_WAIT
from resolution_client.resolver import Resolver as AsyncResolver
from resolution_client.settled import DEFAULT_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from resolution_client.answers import Answer, Outcome
    from resolution_client.observer import Observer
    from resolution_client.submission import FormOptions, Options

_T = TypeVar("_T")
_GRACE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0


class Answers(Protocol):
    """What `settled` returns."""

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


class _Life:
    """An event loop in a thread, with an open resolver."""

    def __init__(self, make: Callable[[], Asynchronous]) -> None:
        self.loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="resolution-client", daemon=True
        )
        self._thread.start()
        self.resolver = self.run(_opened(make), _CLOSE_SECONDS)

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

    def close(self) -> None:
        """End it; whoever waits gets an answer or `CancelledError`."""
        with self._lock:
            self._closed = True
        ending = asyncio.run_coroutine_threadsafe(_ended(self.resolver), self.loop)
        with suppress(NotInTime, CancelledError):
            ending.result(_CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()


async def _opened(make: Callable[[], Asynchronous]) -> Asynchronous:
    return await make().__aenter__()


async def _ended(resolver: Asynchronous) -> None:
    """Close it, and let all that threads wait for come to its end."""
    await resolver.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, unfinished = await asyncio.wait(others, timeout=_GRACE_SECONDS)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


class Resolver:
    """As `resolution_client.Resolver`, called plainly. Safe with threads and after a fork.

    It need not be opened; close it, or use it as a context manager, where the process outlives it.

    Args:
        url: As there.
        caller: As there.
        observer: As there; called in the thread of the event loop.

    Raises:
        ResolverError: URL or caller can't be used; or gevent or eventlet have replaced the threads
            and sockets of this process, under which no event loop can run.
    """

    def __init__(
        self, url: str, *, caller: str | None = None, observer: Observer | None = None
    ) -> None:
        read = address.read(url)
        address.caller_of(caller, read.user)
        self._begin(lambda: AsyncResolver(url, caller=caller, observer=observer))

    @classmethod
    def from_env(cls, *, observer: Observer | None = None) -> Self:
        """As there."""
        url, caller = address.from_env()
        return cls(url, caller=caller, observer=observer)

    def _begin(self, make: Callable[[], Asynchronous]) -> None:
        _refuse_green_threads()
        self._make = make
        self._closed = False
        self._forked: list[_Life] = []
        self._after_fork()
        _all.add(self)

    def _after_fork(self) -> None:
        """Forget the thread, which is not in this process, and a lock that it may have held.

        What it left is kept: closing it here would disturb the parent's connection.
        """
        life: _Life | None = getattr(self, "_life", None)
        if life is not None:
            self._forked.append(life)
        self._life: _Life | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; whoever waits in another thread gets `Closed`."""
        with self._lock:
            self._closed = True
            life, self._life = self._life, None
        if life is not None:
            life.close()

    def resolve(
        self, token: str, *, wait: float = DEFAULT_WAIT, **options: Unpack[Options]
    ) -> Answer:
        """As there, with its arguments; holds this thread no longer than `wait` seconds."""
        life = self._open()
        call = life.resolver.resolve(token, wait=wait, **options)
        del token  # as there
        return _in_time(life, call, wait)

    def resolve_form(
        self, form: Mapping[str, Any], *, wait: float = DEFAULT_WAIT, **options: Unpack[FormOptions]
    ) -> Answer:
        """As there, likewise."""
        life = self._open()
        call = life.resolver.resolve_form(form, wait=wait, **options)
        del form
        return _in_time(life, call, wait)

    def settled(self, queue: str, *, bound: int = DEFAULT_BOUND) -> Iterator[Outcome]:
        """As there: an iterator, for a thread or a process of its own."""
        life = self._open()
        answers = life.run(_begun(life.resolver, queue, bound))
        try:
            while (answer := life.run(_next(answers))) is not None:
                yield answer
        except CancelledError:
            return
        finally:
            if self._life is life:
                with suppress(NotInTime, CancelledError):  # it is just being closed
                    life.run(answers.aclose(), _CLOSE_SECONDS)

    def _open(self) -> _Life:
        with self._lock:
            if self._closed:
                raise Closed("the resolver was closed")
            if self._life is None:
                _refuse_green_threads()
                self._life = _Life(self._make)
            return self._life


async def _begun(resolver: Asynchronous, queue: str, bound: int) -> Answers:
    return resolver.settled(queue, bound=bound)


async def _next(answers: Answers) -> Outcome | None:
    try:
        return await answers.__anext__()
    except StopAsyncIteration:
        return None


def _in_time(life: _Life, call: Coroutine[Any, Any, Answer], wait: float) -> Answer:
    try:
        return life.run(call, max(wait, 0.0) + _GRACE_SECONDS)
    except CancelledError:
        fault: ResolverError = Closed("the resolver was closed while this token was under way")
    except NotInTime:
        fault = NotPublished("the event loop's thread did not answer in time")
    raise fault


def _refuse_green_threads() -> None:
    """Refuse to run where gevent or eventlet have put their own threads in place of real ones."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and any(map(gevent.is_module_patched, ("threading", "socket", "thread"))):
        patched = "gevent's monkey.patch_all()"
    elif eventlet is not None and eventlet.is_monkey_patched("thread"):
        patched = "eventlet's monkey_patch()"
    else:
        return
    raise ResolverError(
        f"{patched} has replaced this process's threads and sockets, under which an event loop "
        "blocks every request: run the workers that call it with real threads (gunicorn -k gthread)"
    )


_all: Final[weakref.WeakSet[Resolver]] = weakref.WeakSet()


def _reopen_all() -> None:
    for each in list(_all):
        each._after_fork()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen_all)
