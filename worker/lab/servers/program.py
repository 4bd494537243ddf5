"""A program that is run to its end for what it prints."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.lab.servers.errors import ServiceError

_MOST_SECONDS = 60.0


async def output(
    name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> str:
    """Run a program; it ends with us if we are cancelled.

    Args:
        name: What to call it in messages.
        command: The program and its arguments.
        environment: Its whole environment.
        directory: Where it runs.

    Raises:
        ServiceError: It failed or took longer than a minute; the text is what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            said, fault = await process.communicate()
    except TimeoutError:
        raise ServiceError(f"{name} took longer than {_MOST_SECONDS:g} s") from None
    finally:
        await _reap(process)
    if process.returncode:
        raise ServiceError(f"{name} failed: {(fault or said).decode(errors='replace').strip()}")
    return said.decode(errors="replace")


async def _reap(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
