"""Ends a program that supplies credentials (`credential_process`) when its look-up is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any, Final

from aiobotocore.credentials import AioProcessProvider, AioProfileProviderBuilder

_ENDING_SECONDS: Final = 1.0


def use_ended_helpers(session: Any) -> None:
    """Make a session's standard chain end its helper program when a look-up is cancelled.

    botocore itself would leave the program running, and start another one each time.
    """
    chain = session.get_component("credential_provider")
    profile = session.get_config_variable("profile") or "default"
    chain.insert_before("custom-process", _provider(session, profile))
    # The source profile of a role may name a program too; there is no public API for this.
    chain.get_provider("assume-role")._profile_provider_builder = _Builder(session)  # noqa: SLF001


class _Builder(AioProfileProviderBuilder):  # type: ignore[misc]  # botocore is untyped
    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return _provider(self._session, profile_name)


def _provider(session: Any, profile: str) -> AioProcessProvider:
    return AioProcessProvider(
        profile_name=profile, load_config=lambda: session.full_config, popen=_start
    )


async def _start(*command: str, **streams: Any) -> _Helper:
    # In its own process group, so that the processes it has started end with it.
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, **streams, start_new_session=True)
    )
    try:
        return _Helper(await asyncio.shield(starting))
    except asyncio.CancelledError:
        # asyncio itself would end only the program, and might wait for it for ever.
        with suppress(OSError):
            await _Helper(await starting).end()
        raise


class _Helper:
    """A running program, with the methods that botocore uses."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Everything that it writes until it ends; cancellation ends the program."""
        try:
            return await self._process.communicate()
        except asyncio.CancelledError:
            await self.end()
            raise

    async def end(self) -> None:
        """End it and all processes that it has started, and close its pipes."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._process.communicate()
