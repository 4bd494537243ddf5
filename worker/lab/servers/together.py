"""Both servers at once, in a temporary folder."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from worker.lab.servers.broker import RabbitMQ, rabbitmq
from worker.lab.servers.errors import the_fault
from worker.lab.servers.postgresql import Postgres, postgres

_Running = TypeVar("_Running")


@dataclass(frozen=True, slots=True)
class Services:
    """A PostgreSQL and a RabbitMQ that run."""

    postgres: Postgres
    rabbitmq: RabbitMQ


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """Run both until the block ends, started side by side, and remove everything then.

    Raises:
        ServiceError: One of them can't be had; the text says why and what to do.
    """
    with tempfile.TemporaryDirectory(prefix="resolution-services-") as folder:
        async with AsyncExitStack() as stack:
            yield await _both(stack, Path(folder))


async def _both(stack: AsyncExitStack, directory: Path) -> Services:
    try:
        async with asyncio.TaskGroup() as group:
            database = _enter(group, stack, postgres(directory / "postgresql"))
            broker = _enter(group, stack, rabbitmq(directory / "rabbitmq"))
    except BaseExceptionGroup as faults:
        raise the_fault(faults) from None
    return Services(database.result(), broker.result())


def _enter(
    group: asyncio.TaskGroup,
    stack: AsyncExitStack,
    server: AbstractAsyncContextManager[_Running],
) -> asyncio.Task[_Running]:
    return group.create_task(stack.enter_async_context(server))
