"""The examples of the client's README, run as they stand against a worker."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness.readme_shop import APPLICATIONS, FAIL_ONCE, Shop, examples
from harness.waiting import eventually
from resolution_client import Resolved, Resolver

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.readme_shop import Browser

NOWHERE = "amqp://shop:secret@127.0.0.1:1/"
WAIT_SECONDS = 10.0  # the examples' own


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


def installed(folder: Path, broker: str) -> Shop:
    """A shop in a folder of its own."""
    folder.mkdir(exist_ok=True)
    shop = Shop(folder, broker)
    shop.install()
    return shop


def test_every_example_is_a_file() -> None:
    """The README has these programs, and no block of Python that no test runs."""
    assert set(examples()) == {
        "asgi_shop.py",
        "flask_shop.py",
        "shop/management/commands/provision_customers.py",
        "shop/models.py",
        "shop/views.py",
        "test_landing.py",
    }


@pytest.mark.parametrize("kind", APPLICATIONS)
async def test_each_answer_has_its_page(
    kind: str, shared_stage: Installation, shared_worker: Worker, tmp_path: Path
) -> None:
    """A buyer is let in, begins again or is shown a code; a reload opens no session."""
    await shared_worker.ready()
    shop = installed(tmp_path, shared_stage.web)
    good, dead = token("ok"), token("garbage")
    async with shop.serving(kind) as browser:
        first, again = await browser.post(good), await browser.post(good)
        assert (first.status, first.location) == (303, "/signup")
        assert (again.status, again.location) == (303, "/login")
        assert (await browser.post(token("invalid"))).status == 410
        failed, unfit = await browser.post(dead), await browser.post("a%2Bb")
        assert (failed.status, unfit.status) == (502, 502)
        assert len(failed.text) == len("WGR1-1S60-FHYJ")
    (key,) = shop.provisioned
    assert key.startswith("arn:")
    assert good not in shop.said
    assert dead not in shop.said


async def test_no_broker(tmp_path: Path) -> None:
    """Without a broker the buyer is asked to try again, within the time allowed."""
    shop = installed(tmp_path, NOWHERE)
    canary = token("ok")
    async with AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(shop.serving(kind)) for kind in APPLICATIONS]
        began = time.monotonic()
        pages = await asyncio.gather(*(browser.post(canary) for browser in browsers))
        assert time.monotonic() - began < WAIT_SECONDS + 3
    assert [(page.status, page.text) for page in pages] == [(503, "try again")] * len(pages)
    assert canary not in shop.said
    assert "secret" not in shop.said


async def late(browser: Browser) -> str:
    """Have a buyer come while no worker runs; the token."""
    left = token("ok")
    page = await browser.post(left)
    assert (page.status, page.location[:9]) == (303, "/waiting/")
    return left


async def let_in(browser: Browser) -> bool:
    """Whether a fresh buyer comes to the sign-up."""
    return (await browser.post(token("ok"))).location == "/signup"


async def declared(stage: Installation, caller: str) -> None:
    """Wait until the queue of `settled` is there."""
    name = f"resolution.reply.{caller}.settled.provisioning"

    def there() -> bool:
        queues = stage.broker.management.call("GET", "queues", stage.broker.vhost)
        return any(queue["name"] == name for queue in queues)

    await eventually(there, "the queue is declared")


async def test_the_management_command(stage: Installation, tmp_path: Path) -> None:
    """It provisions late answers, those whose handling failed too; each agreement once."""
    shop = installed(tmp_path / "django", stage.web)
    command = ("-m", "django", "provision_customers")
    (shop.folder / FAIL_ONCE).touch()
    async with Resolver(stage.web) as resolver:
        async with shop.running("command", *command) as process:
            await declared(stage, resolver.caller)
            async with shop.serving("Django") as browser:
                left = await late(browser)
            assert shop.provisioned == []
            await stage.run()
            assert await asyncio.wait_for(process.wait(), 60) == 1  # the hook has failed
        async with shop.running("command", *command) as process, shop.serving("Django") as browser:
            await eventually(lambda: shop.provisioned, "the late answer is provisioned")
            assert (await browser.post(left)).location == "/login"
            assert await let_in(browser)
            last = await resolver.resolve(token("ok"), wait=30)
            assert isinstance(last, Resolved)
            await eventually(lambda: last.agreement_key in shop.provisioned, "all are handled")
            assert process.returncode is None
    assert len(set(shop.provisioned)) == len(shop.provisioned) == 3


async def test_the_task_beside_an_application(stage: Installation, tmp_path: Path) -> None:
    """The application in whose lifespan `settled` runs provisions late answers, each once."""
    shop = installed(tmp_path / "asyncio", stage.web)
    async with Resolver(stage.web) as resolver, shop.serving("asyncio") as browser:
        await declared(stage, resolver.caller)
        await late(browser)
        assert shop.provisioned == []
        await stage.run()
        await eventually(lambda: shop.provisioned, "the late answer is provisioned")
        await eventually(lambda: let_in(browser), "the application knows that a worker runs")
        last = await resolver.resolve(token("ok"), wait=30)
        assert isinstance(last, Resolved)
        await eventually(lambda: last.agreement_key in shop.provisioned, "all are handled")
    assert len(set(shop.provisioned)) == len(shop.provisioned) >= 3
    assert "Traceback" not in shop.said


def test_the_test(tmp_path: Path) -> None:
    """The example of a shop's own test passes, without a broker."""
    shop = installed(tmp_path, NOWHERE)
    assert "1 passed" in shop.run("-m", "pytest", "--rootdir=.", "test_landing.py")
