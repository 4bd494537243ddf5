"""`settled`: every answer to a caller, whoever waited for it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from harness.reprocessing import dead_letters, on_call
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from resolution_client import Failed, Observer, Pending, Resolved, Resolver, ResolverError

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from resolution_client.answers import Outcome
    from resolution_client.settled import Settlements

WHY = ("--actor", "me", "--reason", "AWS is back")


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


async def declared(resolver: Resolver, queue: str, bound: int = 100) -> None:
    """Have the queue declared, without taking an answer for good."""
    async with aclosing(resolver.settled(queue, bound=bound)) as told:
        taking = asyncio.create_task(anext(told))
        await eventually(lambda: told._channel is not None, "the queue is declared")
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def first(told: Settlements, seconds: float = 30) -> Outcome:
    """The next answer."""
    async with asyncio.timeout(seconds):
        return await anext(told)


async def test_a_late_answer(shared_stage: Installation, shared_worker: Worker) -> None:
    """An answer that comes after its caller gave up is told of."""
    await shared_worker.ready()
    async with Resolver(shared_stage.web) as resolver:
        queue = f"q{uuid.uuid4().hex}"
        await declared(resolver, queue)
        pending = await resolver.resolve(token("slow-800"), wait=0.3, metadata={"s": 1})
        assert isinstance(pending, Pending)
        async with aclosing(resolver.settled(queue)) as told:
            with pytest.raises(ResolverError, match="declared otherwise"):
                await first(told)  # with another bound
        async with aclosing(resolver.settled(queue, bound=100)) as told:
            answer = await first(told)
    assert isinstance(answer, Resolved)
    assert (answer.message_id, answer.metadata) == (pending.message_id, {"s": 1})
    assert answer.token_sha256 == pending.token_sha256


async def test_what_was_not_done_comes_again(
    shared_stage: Installation, shared_worker: Worker
) -> None:
    """An answer is acked when the next is asked for: one whose handling failed comes again."""
    await shared_worker.ready()
    queue = f"q{uuid.uuid4().hex}"
    async with Resolver(shared_stage.web) as resolver:
        await declared(resolver, queue)
        one = await resolver.resolve(token("ok"), wait=30)
        two = await resolver.resolve(token("ok"), wait=30)
        for _ in range(2):
            async with aclosing(resolver.settled(queue, bound=100)) as told:
                assert (await first(told)).message_id == one.message_id
    async with (
        Resolver(shared_stage.web) as later,
        aclosing(later.settled(queue, bound=100)) as told,
    ):
        assert (await first(told)).message_id == one.message_id
        assert (await first(told)).message_id == two.message_id


async def test_a_replay_is_told_of(stage: Installation) -> None:
    """A dead token that on-call replays becomes resolved, and the caller hears of it."""
    await stage.run()
    async with Resolver(stage.web) as resolver:
        await declared(resolver, "provisioning")
        dead = await resolver.resolve(token("fail-3"), wait=40)
        assert isinstance(dead, Failed)
        assert dead.status == "dead"
        found = stage.command("lookup", dead.support_code, "--json", *WHY, **on_call(stage))
        assert found.returncode == 0, found.stderr
        replayed = dead_letters(stage, "replay", "--all", *WHY)
        assert replayed.returncode == 0, replayed.stderr
        async with aclosing(resolver.settled("provisioning", bound=100)) as told:
            assert isinstance(await first(told), Failed)
            saved = await first(told)
    assert isinstance(saved, Resolved)
    assert saved.message_id == dead.message_id


async def test_a_full_queue_drops_the_oldest(
    shared_stage: Installation, shared_worker: Worker
) -> None:
    """Beyond its bound the oldest answers are dropped, counted and told to the observer."""
    await shared_worker.ready()
    lost: list[tuple[str, int]] = []

    class Counting(Observer):
        def answers_lost(self, queue: str, count: int) -> None:
            lost.append((queue, count))

    queue = f"q{uuid.uuid4().hex}"
    async with Resolver(shared_stage.web, observer=Counting()) as resolver:
        await declared(resolver, queue, bound=3)
        ids = [(await resolver.resolve(token("ok"), wait=30)).message_id for _ in range(7)]
        async with aclosing(resolver.settled(queue, bound=3)) as told:
            assert [(await first(told)).message_id for _ in range(3)] == ids[-3:]
            assert told.lost == 4
    assert lost == [(queue, 4)]


async def test_it_outlives_connections(shared_stage: Installation, shared_worker: Worker) -> None:
    """After connections are cut it goes on where it was; an answer may come twice."""
    await shared_worker.ready()
    queue = f"q{uuid.uuid4().hex}"
    seen: list[str] = []
    async with proxy_to(shared_stage.web) as proxy, Resolver(proxy.url) as resolver:
        await declared(resolver, queue)

        async def listen() -> None:
            async for answer in resolver.settled(queue, bound=100):
                seen.append(answer.message_id)  # noqa: PERF401 - looked at meanwhile

        listening = asyncio.create_task(listen())
        ids = []
        for _ in range(3):
            ids += [(await resolver.resolve(token("ok"), wait=30)).message_id for _ in range(5)]
            await proxy.reset()
        await eventually(lambda: set(ids) <= set(seen), "all answers are told of")
        await resolver.close()
        await listening


async def test_two_share_a_queue(shared_stage: Installation, shared_worker: Worker) -> None:
    """Processes that give the same name share the answers; those of another name get all too."""
    await shared_worker.ready()
    names = [f"q{uuid.uuid4().hex}"] * 2 + [f"q{uuid.uuid4().hex}"]
    seen: list[list[str]] = [[], [], []]
    async with Resolver(shared_stage.web) as resolver:
        for name in set(names):
            await declared(resolver, name)

        async def listen(into: list[str], name: str) -> None:
            async for answer in resolver.settled(name, bound=100):
                into.append(answer.message_id)  # noqa: PERF401 - looked at meanwhile

        tasks = [
            asyncio.create_task(listen(into, name)) for into, name in zip(seen, names, strict=True)
        ]
        ids = {(await resolver.resolve(token("ok"), wait=30)).message_id for _ in range(10)}
        await eventually(lambda: ids <= {*seen[0], *seen[1]} and ids <= {*seen[2]}, "all are told")
        assert set(seen[0]).isdisjoint(seen[1])
        await resolver.close()
        await asyncio.gather(*tasks)
