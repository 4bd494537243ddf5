"""The same for threads: a resolver that is called plainly, from Flask or Django say.

One thread of its own runs the event loop; any number of threads may call. It is opened by the first
call, so it may stand at a module's top level; a process that was forked opens one of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from resolution_client import address
from resolution_client.errors import Closed, NotPublished, ResolverError
from resolution_client.hidden import Hidden
from resolution_client.loop_thread import CLOSE_SECONDS, GRACE_SECONDS, LoopThread
from resolution_client.resolver import DEFAULT_WAIT
from resolution_client.resolver import Resolver as AsyncResolver
from resolution_client.settled import DEFAULT_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from resolution_client.answers import Answer, Outcome
    from resolution_client.loop_thread import Answers, Asynchronous
    from resolution_client.observer import Observer
    from resolution_client.submission import FormOptions, Options


class Settlements:
    """An iterator over answers; made by `Resolver.settled`."""

    def __init__(self, life: LoopThread, answers: Answers) -> None:
        self._life = life
        self._answers = answers

    def __iter__(self) -> Self:
        """Begin, or begin anew: what was given last by a loop that was left is not done."""
        aiter(self._answers)
        return self

    def __next__(self) -> Outcome:
        with suppress(CancelledError):
            if (answer := self._life.run(_next(self._answers))) is not None:
                return answer
        raise StopIteration

    def close(self) -> None:
        """End it; the answer that was given last is not done, and comes again."""
        with suppress(NotInTime, CancelledError):  # the resolver is just being closed
            self._life.run(self._answers.aclose(), CLOSE_SECONDS)

    def __del__(self) -> None:
        """As `close`, without waiting: this is what a loop whose body failed leaves."""
        self._life.forget(self._answers)


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
        hidden = Hidden(url)
        del url
        address.caller_of(caller, address.read(hidden).user)
        self._begin(lambda: AsyncResolver(hidden.value, caller=caller, observer=observer))

    @classmethod
    def from_env(cls, *, observer: Observer | None = None) -> Self:
        """As there."""
        return cls(address.url_from_env(), caller=address.caller_from_env(), observer=observer)

    def _begin(self, make: Callable[[], Asynchronous]) -> None:
        _refuse_green_threads()
        self._make = make
        self._closed = False
        self._forked: list[LoopThread] = []
        self._after_fork()
        _all.add(self)

    def _after_fork(self) -> None:
        """Forget the thread, which is not in this process, and a lock that it may have held.

        What it left is kept: closing it here would disturb the parent's connection.
        """
        life: LoopThread | None = getattr(self, "_life", None)
        if life is not None:
            self._forked.append(life)
        self._life: LoopThread | None = None
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
        hidden = Hidden(token)
        del token  # as there
        return self._in_time(lambda of: of.resolve(hidden.value, wait=wait, **options), wait)

    def resolve_form(
        self, form: Mapping[str, Any], *, wait: float = DEFAULT_WAIT, **options: Unpack[FormOptions]
    ) -> Answer:
        """As there, likewise."""
        hidden = Hidden(form)
        del form
        return self._in_time(lambda of: of.resolve_form(hidden.value, wait=wait, **options), wait)

    def settled(self, queue: str, *, bound: int = DEFAULT_BOUND) -> Settlements:
        """As there: an iterator, for a thread or a process of its own."""
        life = self._open()
        try:
            return Settlements(life, life.run(_begun(life.resolver, queue, bound)))
        except CancelledError:
            fault = Closed("the resolver was closed")
        raise fault

    def _in_time(
        self, ask: Callable[[Asynchronous], Coroutine[Any, Any, Answer]], wait: float
    ) -> Answer:
        try:
            life = self._open()
            return life.run(ask(life.resolver), max(wait, 0.0) + GRACE_SECONDS)
        except CancelledError:
            fault: ResolverError = Closed("the resolver was closed while this token was under way")
        except NotInTime:
            fault = NotPublished("the event loop's thread did not answer in time")
        raise fault

    def _open(self) -> LoopThread:
        with self._lock:
            if self._closed:
                raise Closed("the resolver was closed")
            if self._life is None:
                _refuse_green_threads()
                self._life = LoopThread(self._make)
            return self._life


async def _begun(resolver: Asynchronous, queue: str, bound: int) -> Answers:
    return resolver.settled(queue, bound=bound)


async def _next(answers: Answers) -> Outcome | None:
    try:
        return await answers.__anext__()
    except StopAsyncIteration:
        return None


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
