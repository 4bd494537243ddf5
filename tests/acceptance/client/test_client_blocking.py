"""The blocking twin: threads, forks, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolution_client import BadToken, Closed, Failed, NotPublished, Pending, Resolved
from resolution_client.blocking import Resolver
from resolution_client.testing import BlockingFakeResolver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.installation import Installation
    from harness.programs import Worker

CLIENT = Path(__file__).parents[3] / "clients" / "python"
LEFT = "resolution-client"


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


@pytest.fixture(params=["fake", "real"])
def resolver(request: pytest.FixtureRequest) -> Iterator[Resolver]:
    """A blocking resolver; the real one's worker is ready."""
    if request.param == "fake":
        with BlockingFakeResolver() as fake:
            yield fake
        return
    stage: Installation = request.getfixturevalue("shared_stage")
    worker: Worker = request.getfixturevalue("shared_worker")
    asyncio.run(worker.ready())
    with Resolver(stage.web) as real:
        yield real


def test_from_many_threads(resolver: Resolver) -> None:
    """Any number of threads may call; each gets its own answer."""
    some = [token("ok") for _ in range(60)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda each: resolver.resolve(each, wait=30), some))
    for each, answer in zip(some, answers, strict=True):
        assert isinstance(answer, Resolved)
        assert answer.token_sha256 == hashlib.sha256(each.encode()).hexdigest()
    assert len({answer.message_id for answer in answers}) == len(some)


def test_no_longer_than_asked(resolver: Resolver) -> None:
    """A thread is held for the time given."""
    began = time.monotonic()
    assert isinstance(resolver.resolve(token("hang"), wait=0.5), Pending)
    assert time.monotonic() - began < 1.5


def test_forms_and_errors(resolver: Resolver) -> None:
    """Forms, and what can't be a token, are as in the asynchronous one."""
    good = resolver.resolve_form({"x-amzn-marketplace-token": token("ok")}, wait=30)
    assert isinstance(good, Resolved)
    assert isinstance(resolver.resolve_form({}), Failed)
    with pytest.raises(BadToken):
        resolver.resolve("a b")
    with pytest.raises(ValueError, match="wait"):
        resolver.resolve(token("ok"), wait=0)


def test_settled(resolver: Resolver) -> None:
    """`settled` is a plain iterator, which ends when the resolver is closed."""
    seen: list[str] = []
    queue = f"q{uuid.uuid4().hex}"

    def listen() -> None:
        for answer in resolver.settled(queue):
            seen.append(answer.message_id)  # noqa: PERF401 - looked at meanwhile

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    ends = time.monotonic() + 30
    while not seen and time.monotonic() < ends:
        resolver.resolve(token("ok"), wait=30)
    assert seen
    resolver.close()
    listening.join(10)
    assert not listening.is_alive()


def test_a_loop_that_failed_is_begun_again(resolver: Resolver) -> None:
    """An answer whose handling failed comes again to the loop that is begun next."""
    queue = f"q{uuid.uuid4().hex}"
    seen: list[str] = []

    def listen() -> None:
        for answer in resolver.settled(queue, bound=50):
            seen.append(answer.message_id)
            if len(seen) == 1:
                raise ConnectionError  # as the database would
            return

    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(listen)
        ends = time.monotonic() + 30
        while not seen and time.monotonic() < ends:
            resolver.resolve(token("ok"), wait=30)
        with pytest.raises(ConnectionError):
            listening.result(10)
        threads.submit(listen).result(30)
    assert seen[0] == seen[1]


def test_closed_while_an_answer_is_handled(resolver: Resolver) -> None:
    """A loop over `settled` ends if the resolver was closed while its body ran."""
    handling, closed = threading.Event(), threading.Event()

    def listen() -> None:
        for _ in resolver.settled(f"q{uuid.uuid4().hex}"):
            handling.set()
            closed.wait(30)

    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(listen)
        ends = time.monotonic() + 30
        while not handling.is_set() and time.monotonic() < ends:
            resolver.resolve(token("ok"), wait=30)
        resolver.close()
        closed.set()
        listening.result(10)


def test_a_test_settles_a_token() -> None:
    """A test may settle a token from its own thread; who listens in another hears of it."""
    with BlockingFakeResolver() as resolver, ThreadPoolExecutor(1) as threads:
        told = resolver.settled("q")
        waiting = threads.submit(next, told)
        assert isinstance(resolver.resolve("hang-1"), Pending)
        settled = resolver.fake.settle("hang-1")
        assert waiting.result(10) == settled
        told.close()


def test_closed(resolver: Resolver) -> None:
    """After closing it says so, to those who wait in other threads too, and no thread is left."""
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(resolver.resolve, token("hang"), wait=30)
        if not isinstance(resolver, BlockingFakeResolver):
            while not (life := resolver._life) or not len(life.resolver._calls):  # type: ignore[attr-defined]
                time.sleep(0.02)
            resolver.close()
            with pytest.raises(Closed):
                waiting.result(10)
    resolver.close()
    with pytest.raises(Closed):
        resolver.resolve(token("ok"))
    assert not any(LEFT in each.name for each in threading.enumerate())


def test_no_broker() -> None:
    """Without a broker it is `NotPublished`, in time."""
    with Resolver("amqp://a:b@127.0.0.1:1/") as resolver:
        began = time.monotonic()
        with pytest.raises(NotPublished, match="connection refused"):
            resolver.resolve(token("ok"), wait=0.5)
        assert time.monotonic() - began < 1.5


def run(script: str, **environment: str) -> str:
    """What a script prints that may use the client."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        env={**os.environ, "PYTHONPATH": str(CLIENT), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


FORKING = """
import os, sys, threading
from resolution_client import Resolved
from resolution_client.blocking import Resolver
resolver = Resolver.from_env()  # at the top of a module, before the server forks
def one(token):
    answer = resolver.resolve(token, wait=30)
    assert isinstance(answer, Resolved), answer
    print(answer.token_sha256, flush=True)
one(sys.argv[1] if len(sys.argv) > 1 else os.environ["TOKENS"].split()[0])
children = []
for token in os.environ["TOKENS"].split()[1:3]:
    pid = os.fork()
    if not pid:
        one(token)
        os._exit(0)
    children.append(pid)
one(os.environ["TOKENS"].split()[3])  # the parent's connection is untouched
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
one(os.environ["TOKENS"].split()[4])
resolver.close()
"""


def test_after_a_fork(shared_stage: Installation, shared_worker: Worker) -> None:
    """A forked process opens a connection of its own, and the parent's goes on."""
    asyncio.run(shared_worker.ready())
    some = [token("ok") for _ in range(5)]
    out = run(FORKING, RESOLUTION_AMQP__URL=shared_stage.web, TOKENS=" ".join(some))
    assert set(out.split()) == {hashlib.sha256(each.encode()).hexdigest() for each in some}
