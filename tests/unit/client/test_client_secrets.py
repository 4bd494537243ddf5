"""No variable in a traceback shows a token, a form or the broker's password."""

from __future__ import annotations

import asyncio
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from resolution_client import ResolverError, blocking
from resolution_client.broker import asked
from resolution_client.resolver import Resolver
from resolution_client.testing import FakeResolver

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "ok-canary-4711"
FORM = MappingProxyType({"x-amzn-marketplace-token": CANARY})
LIBRARY = "resolution_client"


def variables(error: BaseException | None) -> Iterator[str]:
    """The local variables of all frames of the library in an error and in what it was made of."""
    while error is not None:
        frame = error.__traceback__
        while frame is not None:
            if LIBRARY in frame.tb_frame.f_code.co_filename:
                yield from map(repr, frame.tb_frame.f_locals.values())
            frame = frame.tb_next
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "options", [{"source": "x" * 65}, {"metadata": {"a": object()}}, {"wait": 0}]
)
@pytest.mark.parametrize("form", [True, False])
async def test_an_argument_that_cannot_be_sent(options: dict[str, Any], *, form: bool) -> None:
    """A wrong argument is named, and neither token nor form are in a variable."""
    async with Resolver("amqp://shop:pw@127.0.0.1:1/") as resolver:
        with pytest.raises(ValueError, match=r"source|metadata|wait") as raised:
            await (
                resolver.resolve_form(FORM, **options)
                if form
                else resolver.resolve(CANARY, **options)
            )
    assert not any(CANARY in text for text in variables(raised.value))


@pytest.mark.parametrize("form", [True, False])
def test_a_blocking_resolver_that_is_closed(*, form: bool) -> None:
    """Neither are they where the resolver was closed."""
    resolver = blocking.Resolver("amqp://shop:pw@127.0.0.1:1/")
    resolver.close()
    ask = partial(resolver.resolve_form, FORM) if form else partial(resolver.resolve, CANARY)
    with pytest.raises(ResolverError) as raised:
        ask()
    assert not any(CANARY in text for text in variables(raised.value))


@pytest.mark.parametrize("kind", [Resolver, blocking.Resolver])
@pytest.mark.parametrize("url", [f"http://shop:{CANARY}@h", f"amqp://s.h:{CANARY}@h"])
def test_a_url_that_cannot_be_used(kind: Any, url: str) -> None:
    """Nor is the password where the URL or the caller in it can't be used."""
    with pytest.raises(ResolverError) as raised:
        kind(url)
    assert not any(CANARY in text for text in variables(raised.value))


async def test_a_caller_who_gives_up_waiting() -> None:
    """Who limits a wait himself sees no frame of the libraries beneath in his error."""

    async def library(body: str) -> None:
        await asyncio.sleep(30)

    with pytest.raises(TimeoutError) as raised:
        async with asyncio.timeout(0.01):
            await asked(library(CANARY))
    error: BaseException | None = raised.value
    while error is not None:
        frame = error.__traceback__
        while frame is not None:
            assert frame.tb_frame.f_code.co_name != "library"
            frame = frame.tb_next
        error = error.__cause__ or error.__context__


async def test_the_fake_is_no_better_hiding_place() -> None:
    """The fake raises as the real one does."""
    async with FakeResolver() as fake:
        with pytest.raises(ValueError, match="source"):
            await fake.resolve(CANARY, source="x" * 65)
