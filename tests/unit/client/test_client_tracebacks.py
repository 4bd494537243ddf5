"""What error reporters would show that collect the local variables of a traceback."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from resolution_client import NotPublished, Resolver, blocking

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = "amqp://shop:secret@127.0.0.1:1/"
CANARY = "ok-canary"
FORM = {"x-amzn-marketplace-token": CANARY}


def by_token() -> None:
    """The blocking one, with a token."""
    with blocking.Resolver(NOWHERE) as resolver:
        resolver.resolve(CANARY, wait=0.2)


def by_form() -> None:
    """Likewise, with a form."""
    with blocking.Resolver(NOWHERE) as resolver:
        resolver.resolve_form(FORM, wait=0.2)


def by_token_in_a_loop() -> None:
    """The asynchronous one, with a token."""

    async def call() -> None:
        async with Resolver(NOWHERE) as resolver:
            await resolver.resolve(CANARY, wait=0.2)

    asyncio.run(call())


def by_form_in_a_loop() -> None:
    """Likewise, with a form."""

    async def call() -> None:
        async with Resolver(NOWHERE) as resolver:
            await resolver.resolve_form(FORM, wait=0.2)

    asyncio.run(call())


@pytest.mark.parametrize("call", [by_token, by_form, by_token_in_a_loop, by_form_in_a_loop])
def test_no_variable_of_ours_shows_the_token(call: Callable[[], Any]) -> None:
    """Where a submission is not published, no frame of the client has token or password in it."""
    with pytest.raises(NotPublished) as refused:
        call()
    frames = [frame for frame, _ in traceback.walk_tb(refused.value.__traceback__)]
    ours = [frame for frame in frames if "resolution_client" in frame.f_code.co_filename]
    assert ours
    for frame in ours:
        for name, value in frame.f_locals.items():
            assert CANARY not in repr(value), f"{frame.f_code.co_qualname}: {name}"
            assert "secret" not in repr(value), f"{frame.f_code.co_qualname}: {name}"
