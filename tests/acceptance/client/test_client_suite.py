"""What holds for the client and for its fake alike."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from harness.waiting import eventually
from resolution_client import (
    BadToken,
    Closed,
    Failed,
    Pending,
    Rejected,
    Resolved,
    Resolver,
)
from resolution_client.testing import FakeResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.programs import Worker

MADE = ("fake", "real")


@pytest.fixture(params=MADE)
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a resolver that is not open yet; the real one's worker is ready."""
    if request.param == "fake":
        return FakeResolver
    stage: Installation = request.getfixturevalue("shared_stage")
    request.getfixturevalue("shared_worker")
    return lambda: Resolver(stage.web)


@pytest.fixture
async def resolver(make: Any, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """One that is open."""
    if make is not FakeResolver:
        worker: Worker = request.getfixturevalue("shared_worker")
        await worker.ready()
    async with make() as opened:
        yield opened


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


async def test_who_the_buyer_is(resolver: Any) -> None:
    """A good token names the buyer, under the submission's own fingerprint and metadata."""
    good = token("ok")
    answer = await resolver.resolve(good, wait=20, metadata={"session": "s-1"})
    assert isinstance(answer, Resolved)
    assert answer.token_sha256 == hashlib.sha256(good.encode()).hexdigest()
    assert answer.metadata == {"session": "s-1"}
    assert answer.agreement_key == answer.license_arn
    assert answer.customer_aws_account_id
    assert not answer.repeated


async def test_the_same_token_again_is_repeated(resolver: Any) -> None:
    """A second submission of a token is told apart from the first, with the same key."""
    good = token("ok")
    first = await resolver.resolve(good, wait=20)
    second = await resolver.resolve(good, wait=20)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.agreement_key == second.agreement_key
    assert first.message_id != second.message_id


@pytest.mark.parametrize(("word", "status"), [("invalid", "rejected"), ("expired", "expired")])
async def test_the_buyer_begins_again(resolver: Any, word: str, status: str) -> None:
    """What AWS does not take is `Rejected`, with AWS's code."""
    answer = await resolver.resolve(token(word), wait=20)
    assert isinstance(answer, Rejected)
    assert answer.status == status
    assert answer.error_code


async def test_pending_then_settled(resolver: Any) -> None:
    """What takes longer than one waits for is `Pending`, within that time."""
    began = asyncio.get_running_loop().time()
    answer = await resolver.resolve(token("hang"), wait=1.0)
    assert isinstance(answer, Pending)
    assert answer.reason == "waiting"
    assert len(answer.support_code) == len("WGR1-1S60-FHYJ")
    assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("bad", ["", "with space", "a%2Bb", "x" * 8193, "\ud800"])
async def test_no_token(resolver: Any, bad: str) -> None:
    """What can't be a token is refused at once, and its form is `Failed`."""
    with pytest.raises(BadToken) as refused:
        await resolver.resolve(bad)
    assert refused.value.code.startswith("Token")
    answer = await resolver.resolve_form({"x-amzn-marketplace-token": bad})
    assert isinstance(answer, Failed)
    assert (answer.status, answer.error_code) == ("malformed", refused.value.code)


async def test_a_form_without_a_token(resolver: Any) -> None:
    """A form without the field is `Failed`, as is one that holds no text."""
    forms: tuple[dict[str, Any], ...] = ({}, {"x-amzn-marketplace-token": []})
    for form in forms:
        answer = await resolver.resolve_form(form)
        assert isinstance(answer, Failed)
        assert answer.error_code == "TokenMissing"


async def test_a_form(resolver: Any) -> None:
    """The fields of AWS's form are taken, as a value or as a list of values."""
    for value in (token("ok"), [token("ok")]):
        form = {"x-amzn-marketplace-token": value, "x-amzn-marketplace-offer-type": "free-trial"}
        answer = await resolver.resolve_form(form, wait=20, source="s")
        assert isinstance(answer, Resolved)
        assert answer.offer_type == "free-trial"


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 0},
        {"source": "x" * 65},
        {"metadata": {"a": "x" * 5000}},
        {"metadata": {"a": object()}},
        {"metadata": {"a": "ok-secret"}},
    ],
)
async def test_arguments_that_cannot_be_sent(resolver: Any, options: dict[str, Any]) -> None:
    """An argument that can't be sent is named, and the token is not."""
    with pytest.raises(ValueError, match=r"wait|source|metadata") as refused:
        await resolver.resolve("ok-secret", **options)
    assert "ok-secret" not in str(refused.value)


async def test_only_while_it_is_open(make: Any) -> None:
    """A resolver that is not open, or was closed, says so."""
    resolver = make()
    with pytest.raises(Closed):
        await resolver.resolve(token("ok"))
    async with resolver:
        pass
    with pytest.raises(Closed):
        await resolver.resolve(token("ok"))
    with pytest.raises(Closed):
        await resolver.__aenter__()


async def test_settled_tells_of_all(resolver: Any) -> None:
    """`settled` tells of each answer, and ends when the resolver is closed."""
    seen: set[str] = set()

    async def listen() -> None:
        async for answer in resolver.settled(f"q-{uuid.uuid4().hex}"):
            seen.add(answer.message_id)

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(20):
        while not seen:  # the first to listen declares the queue, and hears what comes after that
            await resolver.resolve(token("ok"), wait=20)
            await asyncio.sleep(0)
    answers = [await resolver.resolve(token("ok"), wait=20) for _ in range(5)]
    expected = {answer.message_id for answer in answers}
    await eventually(lambda: expected <= seen, "all answers are told of")
    await resolver.close()
    await listening


async def test_a_loop_that_failed_is_begun_again(resolver: Any) -> None:
    """An answer whose handling failed comes again to the loop that is begun next."""
    queue = f"q-{uuid.uuid4().hex}"
    seen: list[str] = []

    async def listen() -> None:
        async for answer in resolver.settled(queue, bound=50):
            seen.append(answer.message_id)
            if len(seen) == 1:
                raise ConnectionError  # as the database would
            if len(set(seen)) > 1:
                return

    async def until_it_succeeds() -> None:
        with pytest.raises(ConnectionError):
            await listen()
        await listen()

    listening = asyncio.create_task(until_it_succeeds())
    async with asyncio.timeout(30):
        while not seen:
            await resolver.resolve(token("ok"), wait=20)
            await asyncio.sleep(0)
        await resolver.resolve(token("ok"), wait=20)
        await listening
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("offer_type", ["x" * 256, "a\x00b", "\ud800", "y" * 200_000])
async def test_an_offer_type_of_a_stranger(resolver: Any, offer_type: str) -> None:
    """What a form says beside the token can't hurt anybody else: it is refused at once."""
    good = token("ok")
    form = {"x-amzn-marketplace-token": good, "x-amzn-marketplace-offer-type": offer_type}
    answer = await resolver.resolve_form(form)
    assert isinstance(answer, Failed)
    assert (answer.status, answer.error_code) == ("malformed", "OfferTypeUnfit")
    with pytest.raises(ValueError, match="offer_type"):
        await resolver.resolve(good, offer_type=offer_type)


async def test_what_is_not_ascii(resolver: Any) -> None:
    """Texts in any language come back as they were, in as much room as they need."""
    words = {"name": "Übergröße " + "漢" * 1000}
    answer = await resolver.resolve(token("ok"), wait=20, metadata=words)
    assert isinstance(answer, Resolved)
    assert answer.metadata == words


async def test_a_loop_that_is_begun_anew(resolver: Any) -> None:
    """An answer whose handling failed comes again, though the same iterator is used on."""
    told = resolver.settled(f"q-{uuid.uuid4().hex}")
    asking = asyncio.create_task(_ask_on(resolver))
    given = []
    for _ in range(2):
        async for answer in told:
            given.append(answer.message_id)
            break  # as an exception in its body would end it
    assert given[0] == given[1]
    asking.cancel()


async def _ask_on(resolver: Any) -> None:
    while True:
        await resolver.resolve(token("ok"), wait=20)
        await asyncio.sleep(0.05)
