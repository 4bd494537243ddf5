"""Resolvers for your tests: scripted answers, no broker, no waiting."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, Unpack

from resolution_client import blocking
from resolution_client.answers import (
    DEFAULT_SELLER,
    Answer,
    Failed,
    Outcome,
    Pending,
    Rejected,
    Resolved,
)
from resolution_client.errors import Closed
from resolution_client.hidden import Hidden
from resolution_client.resolver import DEFAULT_WAIT
from resolution_client.settled import DEFAULT_BOUND
from resolution_client.submission import form_fault, form_fields, refused, submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolution_client.submission import FormOptions, Submission

Scripted: TypeAlias = "Outcome | Pending | Exception"
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a test can look at: one call of `resolve`."""

    token: str
    wait: float
    source: str | None
    offer_type: str | None
    seller: str
    metadata: Mapping[str, Any] | None


class FakeResolver:
    """Answers as a worker would, by the token's first word, as the worker's simulator does.

    `ok-…` and `new-…` are resolved, `invalid-…` rejected, `expired-…` expired, `dead-…` dead, and
    `hang-…` pending; anything else is rejected. The same token again is `repeated`.

    Args:
        script: What becomes of which token instead: an answer (its message id, fingerprint, seller
            and metadata become the submission's), or an exception to be raised.

    Attributes:
        submitted: All calls so far, those refused with `BadToken` excepted.
    """

    caller: Final = "fake"

    def __init__(self, script: Mapping[str, Scripted] | None = None) -> None:
        self._script = dict(script or {})
        self._seen: set[str] = set()
        self._pending: dict[str, Submission] = {}
        self._queues: dict[str, deque[Outcome]] = {}
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._history: list[Outcome] = []
        self._open = False
        self._closed = False
        self.submitted: list[Submitted] = []

    async def __aenter__(self) -> Self:
        if self._open or self._closed:
            raise Closed("a resolver can be opened once")
        self._open = True
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End it, and all iterations over `settled`."""
        self._open, self._closed = False, True
        self._tell()

    async def resolve_form(
        self,
        form: Mapping[str, Any],
        *,
        wait: float = DEFAULT_WAIT,
        **options: Unpack[FormOptions],
    ) -> Answer:
        """As of the real one."""
        token, offer_type = form_fields(form)
        if code := form_fault(token, offer_type):
            return refused(token, code, options.get("metadata"))
        return await self.resolve(token.value or "", wait=wait, offer_type=offer_type, **options)

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
        """As of the real one; never waits."""
        prepared = submission(
            Hidden(token), source=source, offer_type=offer_type, seller=seller, metadata=metadata
        )
        if wait <= 0:
            raise ValueError("wait is the time to publish too: give it more than 0 seconds")
        self._check_open()
        self.submitted.append(Submitted(token, wait, source, offer_type, seller, metadata))
        scripted = self._script.get(token) or _by_first_word(token, offer_type)
        if isinstance(scripted, Exception):
            raise scripted
        answer = _of(scripted, prepared, metadata)
        if isinstance(answer, Pending):
            self._pending[token] = prepared
            return answer
        return self._settled(replace(answer, repeated=token in self._seen), token)

    def settle(self, token: str, answer: Outcome | None = None) -> Outcome:
        """Settle a token that is pending: its answer comes through `settled`.

        Args:
            token: As submitted.
            answer: What becomes of it; resolved by default.

        Raises:
            KeyError: It is not pending.
        """
        outcome = answer or _by_first_word(f"ok-{token}", None)
        made = _of(outcome, self._pending.pop(token), None)
        assert not isinstance(made, Pending)
        return self._settled(made, token)

    def settled(self, queue: str, *, bound: int = DEFAULT_BOUND) -> FakeSettlements:
        """As of the real one; all answers since the resolver was made."""
        self._check_open()
        waiting = self._queues.setdefault(queue, deque(self._history, bound))
        return FakeSettlements(self, waiting)

    async def _next(self, waiting: deque[Outcome]) -> Outcome:
        while not waiting and not self._closed:
            self._news.clear()
            await self._news.wait()
        if self._closed:
            raise StopAsyncIteration
        return waiting.popleft()

    def _settled(self, answer: Outcome, token: str) -> Outcome:
        self._seen.add(token)
        self._history.append(answer)
        for waiting in self._queues.values():
            waiting.append(answer)
        self._tell()
        return answer

    def _tell(self) -> None:
        """Wake those who listen: a test may settle a token from its own thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def _check_open(self) -> None:
        if not self._open:
            raise Closed("the resolver is not open: use `async with Resolver(…) as resolver`")


class FakeSettlements:
    """An asynchronous iterator over answers; made by `FakeResolver.settled`."""

    def __init__(self, fake: FakeResolver, waiting: deque[Outcome]) -> None:
        self._fake = fake
        self._waiting = waiting
        self._unacked: Outcome | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        """As of the real one: what a loop that was left was given comes again."""
        self._give_back()
        return self

    async def __anext__(self) -> Outcome:
        self._unacked = None
        if self._closed:
            raise StopAsyncIteration
        self._unacked = await self._fake._next(self._waiting)  # noqa: SLF001 - made by it
        return self._unacked

    async def aclose(self) -> None:
        """End it; the answer that was not acked comes again."""
        self._closed = True
        self._give_back()

    def __del__(self) -> None:
        """As `aclose`: this is what a loop whose body failed leaves."""
        self._give_back()

    def _give_back(self) -> None:
        answer, self._unacked = self._unacked, None
        if answer is not None and len(self._waiting) != self._waiting.maxlen:
            self._waiting.appendleft(answer)


class BlockingFakeResolver(blocking.Resolver):
    """A `FakeResolver` that is called plainly.

    Attributes:
        fake: It.
    """

    def __init__(self, script: Mapping[str, Scripted] | None = None) -> None:
        self.fake = FakeResolver(script)
        self._begin(lambda: self.fake)


def _of(answer: Answer, prepared: Submission, metadata: Mapping[str, Any] | None) -> Answer:
    """The answer to this submission."""
    own: dict[str, Any] = {
        "message_id": prepared.message_id,
        "token_sha256": prepared.token_sha256,
    }
    if isinstance(answer, Pending):
        return replace(answer, **own)
    if isinstance(answer, Resolved):
        own["seller"] = prepared.seller
    return replace(answer, **own, metadata=dict(metadata or {}))


def _by_first_word(token: str, offer_type: str | None) -> Answer:
    digest = hashlib.sha256(token.encode()).hexdigest()
    now = datetime.now(UTC)
    common: dict[str, Any] = {
        "message_id": "",
        "token_sha256": digest,
        "repeated": False,
        "metadata": {},
        "received_at": now,
        "settled_at": now,
    }
    match token.partition("-")[0]:
        case "ok" | "new":
            return _resolved(common, digest, offer_type)
        case "expired":
            return Rejected(**common, status="expired", error_code="ExpiredTokenException")
        case "dead":
            return Failed(**common, status="dead", error_code="InternalServiceErrorException")
        case "hang":
            return Pending(message_id="", token_sha256=digest, reason="waiting")
        case _:
            return Rejected(**common, status="rejected", error_code="InvalidTokenException")


def _resolved(common: dict[str, Any], digest: str, offer_type: str | None) -> Resolved:
    account = str(int(digest[:16], 16))[:_DIGITS].zfill(_DIGITS)
    return Resolved(
        **common,
        product_code="fake-product",
        customer_aws_account_id=account,
        customer_identifier=None,
        license_arn=f"arn:aws:license-manager::{account}:license:l-{digest[:32]}",
        agreement_id=f"agmt-{digest[:16]}",
        offer_type=offer_type,
    )
