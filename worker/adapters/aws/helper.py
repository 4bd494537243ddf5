"""A program that gives out credentials (`credential_process`), ended where it is not waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any, Final

from aiobotocore.credentials import AioProcessProvider, AioProfileProviderBuilder

_ENDING_SECONDS: Final = 1.0


def use_ended_helpers(session: Any) -> None:
    """Let the standard chain of this session leave no program behind when a look-up is given up.

    botocore itself would let it run on, with whatever it waits for, and start another each time.
    """
    chain = session.get_component("credential_provider")
    profile = session.get_config_variable("profile") or "default"
    chain.insert_before("custom-process", _provider(session, profile))
    # The profile that a role is assumed from may name a program too; there is no public way in.
    chain.get_provider("assume-role")._profile_provider_builder = _Builder(session)  # noqa: SLF001


class _Builder(AioProfileProviderBuilder):  # type: ignore[misc]  # botocore is untyped
    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return _provider(self._session, profile_name)


def _provider(session: Any, profile: str) -> AioProcessProvider:
    return AioProcessProvider(
        profile_name=profile, load_config=lambda: session.full_config, popen=_start
    )


async def _start(*command: str, **streams: Any) -> _Helper:
    # A group of its own: what it has started ends with it.
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, **streams, start_new_session=True)
    )
    try:
        return _Helper(await asyncio.shield(starting))
    except asyncio.CancelledError:
        # asyncio itself, cancelled here, ends only the program, and may wait for it for ever.
        with suppress(OSError):
            await _Helper(await starting).end()
        raise


class _Helper:
    """A started program, as far as botocore asks for it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it writes until it ends; it is ended where this is cancelled."""
        try:
            return await self._process.communicate()
        except asyncio.CancelledError:
            await self.end()
            raise

    async def end(self) -> None:
        """End it with all that it has started, and close its pipes."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._process.communicate()
