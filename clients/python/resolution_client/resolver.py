"""The client: submits tokens and gets their answers, over one connection."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from resolution_client import address, state
from resolution_client.answers import DEFAULT_SELLER, Answer, Pending, Unreadable
from resolution_client.broker import Lost
from resolution_client.calls import Call, Calls
from resolution_client.errors import Closed, NotPublished, ResolverError
from resolution_client.hidden import Hidden
from resolution_client.link import Life, Link, Listener
from resolution_client.observer import Observer, Safe
from resolution_client.progress import GiveUp, Progress, Publish, Wait
from resolution_client.settled import DEFAULT_BOUND, Settlements
from resolution_client.submission import Submission, form_fault, form_fields, refused, submission

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_WAIT: Final = 10.0
_TICK_SECONDS: Final = 0.01  # after the silence has become one
_REFUSED_SECONDS: Final = 0.25
"""A submission that the broker refuses is offered again after so long."""


class Resolver:
    """Asks the workers who a buyer is. Any number of tasks of one event loop may share it.

    Use it as an asynchronous context manager, for the whole life of the process: it keeps one
    connection, and connects again by itself. Entering does not wait for the broker.

    Args:
        url: Of the broker: `amqps://user:password@host[:port][,host…]/vhost`.
        caller: The second word of its routing keys and queues; the URL's user unless given.
        observer: Who counts what happens.

    Raises:
        ResolverError: URL or caller can't be used.
    """

    def __init__(
        self, url: str, *, caller: str | None = None, observer: Observer | None = None
    ) -> None:
        hidden = Hidden(url)
        del url
        self._address = address.read(hidden)
        self.caller: Final = address.caller_of(caller, self._address.user)
        self._observer = Safe(observer or Observer())
        self._calls = Calls()
        self._watch = state.Watch()
        self._told: str | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        listener = Listener(self._on_reply, self._on_state, self._on_change)
        self._link = Link(self._address, self.caller, listener)
        self._settlements: weakref.WeakSet[Settlements] = weakref.WeakSet()

    @classmethod
    def from_env(cls, *, observer: Observer | None = None) -> Self:
        """A resolver for RESOLUTION_AMQP__URL and, if it is set, RESOLUTION_CALLER.

        Raises:
            ResolverError: They are missing, or can't be used.
        """
        return cls(address.url_from_env(), caller=address.caller_from_env(), observer=observer)

    async def __aenter__(self) -> Self:
        if self._closed or self._running is not None:
            raise Closed("a resolver can be opened once")
        self._loop = asyncio.get_running_loop()
        self._running = self._loop.create_task(self._link.run(), name="resolution-client")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End it. Whoever waits gets `Closed`; their answers come through `settled`."""
        self._closed = True
        if self._silence is not None:
            self._silence.cancel()
        self._calls.tell_all()
        for each in list(self._settlements):
            each.stop()
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    @property
    def workers(self) -> state.WorkerState | None:
        """What all workers say of themselves; None while that is not known."""
        if self._loop is None:
            return None
        return self._watch.state(self._loop.time())

    async def resolve_form(
        self,
        form: Mapping[str, Any],
        *,
        wait: float = DEFAULT_WAIT,
        source: str | None = None,
        seller: str = DEFAULT_SELLER,
        metadata: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Resolve the form that AWS has the buyer's browser post, as your framework decoded it.

        As `resolve`, but a form that can't be resolved gives `Failed`, at once: whoever posted it
        can't correct it.
        """
        token, offer_type = form_fields(form)
        del form
        if code := form_fault(token, offer_type):
            return refused(token, code, metadata)
        prepared = submission(
            token, source=source, offer_type=offer_type, seller=seller, metadata=metadata
        )
        return await self._resolve(prepared, wait)

    async def resolve(
        self,
        token: str,
        *,
        wait: float = DEFAULT_WAIT,
        source: str | None = None,
        offer_type: str | None = None,
        seller: str = DEFAULT_SELLER,
        metadata: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Submit a token, and wait for what becomes of it.

        Args:
            token: As decoded once from the form.
            wait: Seconds, more than 0. While calls are paused or stopped nobody waits for them.
            source: Where it came from, see `network_of`; a flood from one source delays others
                little.
            offer_type: The form's field of that name.
            seller: The seller account to ask.
            metadata: Comes back in the answer; at most 4 KiB of JSON, without the token.

        Returns:
            The outcome, or `Pending`, within `wait` seconds.

        Raises:
            BadToken: It can't be a token; nothing was published.
            NotPublished: The broker did not confirm it in time.
            Closed: The resolver is not open.
            ValueError: An argument can't be sent.
        """
        hidden = Hidden(token)
        del token  # so that whatever shows the variables of a traceback does not show it
        prepared = submission(
            hidden, source=source, offer_type=offer_type, seller=seller, metadata=metadata
        )
        return await self._resolve(prepared, wait)

    def settled(self, queue: str, *, bound: int = DEFAULT_BOUND) -> Settlements:
        """All answers to this caller, those that came late or after a replay too.

        They wait in a durable queue of this name, shared by all who give it; each answer goes to
        one of them, and is acked when the next is asked for: it comes again if the loop was left
        before that or the process died, so let provisioning twice by one `agreement_key` do no
        harm.

        Args:
            queue: Its name: letters, digits, - and _.
            bound: How many answers wait at most; beyond, the oldest are dropped and counted.

        Returns:
            An asynchronous iterator, which ends when the resolver is closed.
        """
        self._ready()
        made = Settlements(self._link, self.caller, queue, bound, self._observer)
        self._settlements.add(made)
        return made

    # --- one call ---

    async def _resolve(self, prepared: Submission, wait: float) -> Answer:
        if wait <= 0:
            raise ValueError("wait is the time to publish too: give it more than 0 seconds")
        now = self._ready()
        call = self._calls.begin(prepared)
        try:
            answer = await self._answer(call, Progress.begin(now, wait))
        except NotPublished:
            self._observer.tell("not_published", self._time() - now)
            raise
        finally:
            self._calls.end(call)
        status = "pending" if isinstance(answer, Pending) else _status(answer)
        self._observer.tell("answered", status, self._time() - now)
        return answer

    async def _answer(self, call: Call, progress: Progress) -> Answer:
        refusal = ""
        while True:
            call.news.clear()
            if call.answer is not None:
                return call.answer
            if self._closed:
                raise Closed("the resolver was closed while this token was under way")
            life, now = self._link.life, self._time()
            idle, silent = self._watch.idle_from(now), self._watch.silence_at() or 0.0
            match progress.next(now, life.number if life else 0, idle, silent):
                case Publish():
                    assert life is not None
                    refusal = await self._publish(call.submission, life, progress)
                case Wait(until):
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(until):
                            await call.news.wait()
                case GiveUp(published=True):
                    return state.pending(call.submission, self._watch.state(now))
                case GiveUp():
                    raise NotPublished(f"not confirmed in time: {refusal or self._link.fault}")

    async def _publish(self, prepared: Submission, life: Life, progress: Progress) -> str:
        """Publish it; returns why it is not confirmed, or an empty text."""
        again = progress.published
        try:
            seconds = progress.deadline - self._time()
            await life.publish(prepared, self._address.user, seconds)
        except Lost as lost:
            progress.not_before = self._time() + _REFUSED_SECONDS
            return str(lost)
        progress.confirmed(life.number, self._time())
        self._observer.tell("published", again=again)
        return ""

    def _ready(self) -> float:
        """The time, if the resolver can be used here."""
        if self._closed or self._loop is None:
            raise Closed("the resolver is not open: use `async with Resolver(…) as resolver`")
        if asyncio.get_running_loop() is not self._loop:
            raise ResolverError(
                "this resolver belongs to another event loop: in synchronous code use "
                "resolution_client.blocking.Resolver"
            )
        return self._loop.time()

    def _time(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    # --- what comes over the link ---

    def _on_reply(self, body: bytes) -> None:
        kind = self._calls.deliver(body)
        if kind in ("answered", "late"):
            self._watch.sign_of_life(self._time())
        if kind != "answered":
            self._observer.tell("dropped", kind)

    def _on_state(self, replica: str, body: bytes) -> None:
        try:
            told = state.read(body)
        except Unreadable:
            self._observer.tell("dropped", "unreadable")
            return
        self._watch.heard(replica, told, self._time())
        self._notice()

    def _on_change(self) -> None:
        life = self._link.life
        if life is None:
            self._watch.deaf()
            self._observer.tell("disconnected", self._link.fault)
        else:
            if life.hears_workers:
                self._watch.listen(self._time())
            self._observer.tell("connected", self._address.place)
        self._calls.tell_all()
        self._notice()

    def _notice(self) -> None:
        """Tell everybody who waits when the workers begin or cease to call."""
        if self._silence is not None:
            self._silence.cancel()
        if self._loop is not None and (at := self._watch.silence_at()) and at > self._loop.time():
            self._silence = self._loop.call_at(at + _TICK_SECONDS, self._notice)
        told = self.workers
        calls = told.calls if told else None
        if calls is not None and calls != self._told:
            self._told = calls
            self._observer.tell("workers", calls)
            self._calls.tell_all()


def _status(answer: Answer) -> str:
    return getattr(answer, "status", "resolved")
