"""The shop's hook: once for each agreement, whatever it does."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from landing import provisioning
from landing.events import WATCH_SECONDS, News
from landing.provisioning import (
    MOST_AGAIN_SECONDS,
    _for_ever,
    _provision,
    listen,
    provision_all,
    running,
)
from landing.store import Background, Store
from resolution_client import Resolver
from resolution_client.testing import FakeResolver
from tests.unit.landing.landing_answers import resolved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from landing.provisioning import Hook
    from landing.records import Agreement


@asynccontextmanager
async def provisioner(path: Path, hook: Hook, at_once: int = 2) -> AsyncIterator[Background]:
    """A process that provisions, until the block ends."""
    news = News()
    async with Background(path) as store:
        tasks = [asyncio.create_task(provision_all(store, hook, news)) for _ in range(at_once)]
        try:
            yield store
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_processes_and_many_agreements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes call the hook once for each agreement, whoever heard of it, and how often."""
    monkeypatch.setattr(provisioning, "LOOK_SECONDS", 0.01)
    called: Counter[str] = Counter()

    async def hook(agreement: Agreement) -> None:
        called[agreement.customer.agreement_key] += 1
        await asyncio.sleep(0)

    path = tmp_path / "landing.sqlite"
    async with provisioner(path, hook) as one, provisioner(path, hook) as two:
        for number in range(30):
            for store in (one, two):
                answer = resolved(f"m{number}", key=f"arn{number % 20}")
                await store(Store.record, answer, time.time())
        await eventually(lambda: len(called) == 20, "all are provisioned")
    assert set(called.values()) == {1}


async def test_a_failing_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails or hangs is called again later, and keeps nobody else waiting."""
    monkeypatch.setattr(provisioning, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(provisioning, "AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(provisioning, "HOOK_SECONDS", 0.05)
    calls: list[tuple[str, int]] = []

    async def hook(agreement: Agreement) -> None:
        key = agreement.customer.agreement_key
        calls.append((key, agreement.tries))
        if key == "bad" and agreement.tries == 0:
            raise ConnectionError("away")
        if key == "bad" and agreement.tries == 1:
            await asyncio.Event().wait()

    async with provisioner(tmp_path / "landing.sqlite", hook, at_once=1) as store:
        for key in ("bad", "good"):
            await store(Store.record, resolved(key, key=key), time.time())
        await eventually(lambda: len(calls) == 4, "both are provisioned")

        async def done() -> bool:
            return await store(Store.is_provisioned, "bad")

        await eventually(done, "and known to be")
    assert [tries for key, tries in calls if key == "bad"] == [0, 1, 2]
    assert calls.index(("good", 0)) < calls.index(("bad", 2))


async def test_a_hook_that_fails_for_months(tmp_path: Path) -> None:
    """After thousands of tries it is still called again an hour later, and no sooner."""

    async def hook(_: Agreement) -> None:
        raise ConnectionError("away")

    async with Background(tmp_path / "landing.sqlite") as store:
        await store(Store.record, resolved("m"), 1.0)
        claimed = await store(Store.claim, 1.0)
        assert claimed
        before = time.time()
        await _provision(store, hook, replace(claimed, tries=5000))
        assert await store(Store.claim, before + MOST_AGAIN_SECONDS - 1) is None
        assert await store(Store.claim, time.time() + MOST_AGAIN_SECONDS)


async def test_every_answer_is_stored(tmp_path: Path) -> None:
    """Late answers are stored as they come; the loop ends with the resolver."""
    async with Background(tmp_path / "landing.sqlite") as store, FakeResolver() as fake:
        listening = asyncio.create_task(listen(store, fake))  # type: ignore[arg-type]
        pending = await fake.resolve("hang-1")
        await store(Store.begin, 1, "secret", pending, 1.0)
        fake.settle("hang-1")

        async def answered() -> Any:
            (setup,) = await store(Store.setups, ["secret"])
            return setup.answer

        assert (await eventually(answered, "it is stored")).outcome == "resolved"
        await fake.close()
        await listening


class Counted(News):
    """News that counts how often it is told."""

    told = 0

    def tell(self) -> None:
        """Count it."""
        self.told += 1
        super().tell()


async def test_many_answers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many answers come, those who wait are woken four times a second."""
    news, fake, provisioned = Counted(), FakeResolver(), []

    async def hook(agreement: Agreement) -> None:
        provisioned.append(agreement)

    monkeypatch.setattr(Resolver, "from_env", lambda: fake)
    began = time.monotonic()
    async with running(tmp_path / "landing.sqlite", hook, news):
        for number in range(40):
            await fake.resolve(f"hang-{number}")
            fake.settle(f"hang-{number}")
        await eventually(lambda: len(provisioned) == 40, "all are provisioned")
        most = 2 + (time.monotonic() - began) / WATCH_SECONDS
        assert news.told <= most


async def test_work_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, say, ends nothing for good."""
    monkeypatch.setattr(provisioning, "AGAIN_SECONDS", 0.01)
    began: list[int] = []

    async def work() -> None:
        began.append(1)
        raise sqlite3.OperationalError("database or disk is full")

    task = asyncio.create_task(_for_ever(work))
    await eventually(lambda: len(began) > 2, "it began again")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
