"""The credentials used to sign: looked up and renewed concurrently with calls, in a task."""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.aws.chain import WrongAccount
from worker.core.exceptions import Unavailable
from worker.core.renewal import LOOK_UP_SECONDS, MARGIN_SECONDS, again_in, renewal_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.adapters.aws.chain import Found
    from worker.adapters.aws.signing import Identity

log: Final = structlog.get_logger()

_LOG_SECONDS: Final = 60.0


class CredentialsTimeout(Unavailable):
    """The source of the credentials did not answer within the time limit of a look-up."""


class _LookUp:
    """The current look-up, or the next one.

    Attributes:
        ended: Set once there is a result.
        result: The identity, or the error.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.result: Identity | Exception | None = None


class Credentials:
    """Holds the credentials until they expire, and runs at most one look-up at a time.

    Only the task of `renewing` looks up, so a look-up continues after a waiting caller has given
    up, and its result is used. The present credentials are used during a look-up, until shortly
    before they expire.

    Args:
        look_up: Looks up once, from the beginning; see `Chain.look_up`.
        known: Credentials found before, if any.
        clock: Seconds since the epoch.

    Attributes:
        known: The credentials found last, whether or not they can still be used.
        failure: Why the last look-up failed; None if it succeeded.
    """

    def __init__(
        self,
        look_up: Callable[[], Awaitable[Found]],
        *,
        known: Found | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = look_up
        self._clock = clock
        self._asked = asyncio.Event()
        self._look_up = _LookUp()
        self._under_way = False
        self._serves_until = -math.inf
        self._renew_at: float | None = None  # loop time
        self._failures = 0
        self._not_before = -math.inf  # loop time
        self._logged_at = -math.inf
        self.known: Found | None = None
        self.failure: Exception | None = None
        if known is not None:
            self._take(known)

    def serving(self) -> Identity | None:
        """The identity to sign with now; None if the caller must wait for a look-up."""
        known = self.known
        return known.identity if known and self._clock() < self._serves_until else None

    async def current(self, deadline: float | None) -> Identity:
        """The identity to sign with, looked up if there is no usable one.

        Args:
            deadline: Until when to wait (loop time); None for as long as the look-up takes.

        Raises:
            TimeoutError: There was no result in time; the look-up continues.
            Exception: The look-up's error, or the last one's if it is too soon for another.
        """
        identity = self.serving()
        if identity is not None:
            return identity
        is_sought = self._under_way or self._asked.is_set()
        if self.failure is not None and not is_sought and self._is_too_soon():
            raise self.failure.with_traceback(None)
        return await self.renewed(deadline)

    async def renewed(self, deadline: float | None) -> Identity:
        """The result of the running look-up or, if there is none, of a new one.

        Args:
            deadline: As for `current`.

        Raises:
            TimeoutError: As for `current`.
            Exception: As for `current`.
        """
        look_up = self._look_up
        self.forget()
        try:
            async with asyncio.timeout_at(deadline):
                await look_up.ended.wait()
        except TimeoutError:
            if self.failure is None or self._under_way:
                raise
            raise self.failure.with_traceback(None) from None
        result = look_up.result
        assert result is not None
        if isinstance(result, Exception):
            raise result.with_traceback(None)
        return result

    def forget(self) -> None:
        """Start a new look-up unless one is running: the present credentials were refused."""
        if not self._under_way:
            self._asked.set()

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Run look-ups on request and renew expiring credentials, for the duration of the block."""
        task = asyncio.create_task(self._run(), name="credentials")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # raises the defect that ended it

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._renew_at):
                    await self._asked.wait()
            if self._is_too_soon():
                await asyncio.sleep(self._not_before - asyncio.get_running_loop().time())
            await self._look()

    def _is_too_soon(self) -> bool:
        return asyncio.get_running_loop().time() < self._not_before

    async def _look(self) -> None:
        look_up, self._under_way = self._look_up, True
        self._asked.clear()
        try:
            found = await self._bounded()
        except Exception as error:  # noqa: BLE001 - the chain runs files and programs of all kinds
            self._fail(error)
            look_up.result = error
        else:
            self._take(found)
            look_up.result = found.identity
        self._look_up, self._under_way = _LookUp(), False
        look_up.ended.set()

    async def _bounded(self) -> Found:
        bound = asyncio.timeout(LOOK_UP_SECONDS)
        try:
            async with bound:
                return await self._find()
        except TimeoutError:
            if not bound.expired():
                raise
            raise CredentialsTimeout(
                "the source of the credentials (STS, a metadata service, a credential_process) "
                f"gave no answer within {LOOK_UP_SECONDS:g} s"
            ) from None

    def _take(self, found: Found) -> None:
        self.known = found
        self._serves_until = found.ends - MARGIN_SECONDS
        self._failures, self.failure, self._not_before = 0, None, -math.inf
        seconds = renewal_in(found.ends - self._clock())
        lasts = math.isinf(seconds)
        self._renew_at = None if lasts else asyncio.get_running_loop().time() + seconds

    def _fail(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self.failure = error
        self._not_before = now + again_in(self._failures, random.random())  # noqa: S311 - spread
        if isinstance(error, WrongAccount):
            # A definite answer: the operator's setting forbids the old credentials too.
            self.known, self._serves_until = None, -math.inf
        if self._renew_at is not None:
            self._renew_at = self._not_before
        if self.serving() is not None and now >= self._logged_at + _LOG_SECONDS:
            self._logged_at = now
            seconds = self._serves_until - self._clock()
            for_seconds = None if math.isinf(seconds) else round(seconds)
            log.warning("credentials_kept", reason=type(error).__name__, for_seconds=for_seconds)
