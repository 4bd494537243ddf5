"""Transactions that collide (serialisation failure, deadlock) are run again as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import asyncpg

from worker.adapters.postgres.errors import is_collision

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")
_TRIES: Final = 5


async def repeat_on_collision(transact: Callable[[], Awaitable[_T]]) -> _T:
    """Return what one transaction returns; run it again if it collides, five times in all.

    Raises:
        asyncpg.PostgresError: Another error, or the collision of the last try.
    """
    for _ in range(_TRIES - 1):
        try:
            return await transact()
        except asyncpg.PostgresError as error:
            if not is_collision(error):
                raise
    return await transact()
