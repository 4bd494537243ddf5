"""The command `resolution-worker publish`, fed through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.lab.demo.processes import COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from worker.lab.demo.submissions import Spoilt, Submission

_TICK_SECONDS: Final = 0.05
_MOST_LINES: Final = 500
_END_SECONDS: Final = 60.0


class NotPublished(Exception):
    """The command did not publish everything; the text is what it said."""


class Publishing:
    """One running `publish`.

    Attributes:
        fed: How many lines it was given so far.
    """

    def __init__(self, lane: str, process: asyncio.subprocess.Process) -> None:
        self._lane = lane
        self._process = process
        self.fed = 0

    async def feed(
        self, messages: Sequence[Submission | Spoilt], per_second: float | None = None
    ) -> None:
        """Give it all messages and wait until the broker has confirmed them.

        Args:
            messages: Each is received from its buyer at the moment it is written.
            per_second: How many to write a second; None for as fast as they are taken.

        Raises:
            NotPublished: Some are not confirmed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        # A command that has ended breaks the pipe; why it has is for itself to say.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while self.fed < len(messages):
                due = len(messages)
                if per_second is not None:
                    await asyncio.sleep(_TICK_SECONDS)
                    due = min(due, int((loop.time() - began) * per_second))
                await self._write(messages[self.fed : min(due, self.fed + _MOST_LINES)])
        await self._finish()

    async def _write(self, messages: Sequence[Submission | Spoilt]) -> None:
        assert self._process.stdin is not None
        now = datetime.now(UTC)
        self._process.stdin.write(b"".join(message.line(now) for message in messages))
        await self._process.stdin.drain()
        self.fed += len(messages)

    async def _finish(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                _, said = await self._process.communicate()
        except TimeoutError:
            raise NotPublished(
                f"resolution-worker publish --lane {self._lane} has not ended within"
                f" {_END_SECONDS:.0f} s after its last line"
            ) from None
        if self._process.returncode:
            words = said.decode(errors="replace").strip()
            raise NotPublished(
                f"resolution-worker publish --lane {self._lane} ended with code"
                f" {self._process.returncode}:\n{words}"
            )


@asynccontextmanager
async def publishing(
    lane: str, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Publishing]:
    """Start `publish`, which waits for lines; it ends with the block, or with this process.

    Args:
        lane: `live` or `backlog`.
        directory: Where it runs.
        environment: Its whole environment.
    """
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "publish", "--lane", lane),
        env=environment,
        cwd=directory,
        start_new_session=True,  # Ctrl-C in a terminal is ours to handle
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Publishing(lane, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
