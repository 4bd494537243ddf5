"""`run` as a service of systemd's: what it says, and where its secrets are."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import psutil

from harness.service_manager import listening_manager
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.service_manager import ListeningManager
    from harness.web_tier import WebTier

WATCHDOG_SECONDS = 2
SECRETS = ("WORKER_AMQP__URL", "WORKER_POSTGRES__DSN", "WORKER_DEAD_LETTERS__SEAL_KEY")


def credentials(stage: Installation, folder: Path) -> dict[str, str]:
    """The settings, with the secrets where `LoadCredential=worker:` puts them."""
    folder.mkdir()
    environment = stage.environment()
    for name in SECRETS:
        file = folder / f"worker_{name.removeprefix('WORKER_').lower()}"
        file.write_text(f"{environment[name]}\n")
    return {**dict.fromkeys(SECRETS, ""), "WORKER_SECRETS_DIR": str(folder)}


async def started(stage: Installation, systemd: ListeningManager, **settings: str) -> Worker:
    """A worker that has said to systemd that it is ready."""
    watchdog = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": f"{WATCHDOG_SECONDS}000000"}
    worker = stage.start(**watchdog, **settings)
    await eventually(lambda: systemd.count("READY=1"), "it says that it is ready")
    return worker


async def test_a_service_says_when_it_is_ready_and_when_it_stops(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """With its secrets as credentials it is ready, feeds the watchdog, works, and says it stops."""
    settings = credentials(stage, tmp_path / "credentials")
    with listening_manager(tmp_path) as systemd:
        worker = await started(stage, systemd, **settings)
        assert (await worker.get("/readyz"))[0] == 200
        assert (await web.settled(*tokens("ok", 1))).status == "resolved"
        fed = systemd.count("WATCHDOG=1")
        await eventually(lambda: systemd.count("WATCHDOG=1") > fed, "the watchdog is fed")
        await eventually(lambda: systemd.status == "Ready: calls to AWS are made.", "its status")

        worker.send(signal.SIGTERM)
        assert await worker.exit_code() == 0
        assert systemd.count("READY=1") == 1
        assert systemd.count("STOPPING=1") == 1
        assert systemd.count("EXTEND_TIMEOUT_USEC=35000000") == 1
    assert not worker.logged("systemd_not_reached")


async def test_a_frozen_service_feeds_no_watchdog(stage: Installation) -> None:
    """A process that is stopped says nothing, to an abstract socket either; then it goes on."""
    with listening_manager() as systemd:
        worker = await started(stage, systemd)
        await eventually(lambda: systemd.count("WATCHDOG=1"), "the watchdog is fed")
        worker.send(signal.SIGSTOP)
        process = psutil.Process(worker.process.pid)
        await eventually(lambda: process.status() == psutil.STATUS_STOPPED, "it is frozen")
        fed = systemd.count("WATCHDOG=1")
        await asyncio.sleep(WATCHDOG_SECONDS)
        assert systemd.count("WATCHDOG=1") == fed
        worker.send(signal.SIGCONT)
        await eventually(lambda: systemd.count("WATCHDOG=1") > fed, "it is fed again")


async def test_a_service_that_waits_for_its_database_is_not_ready(
    stage: Installation, tmp_path: Path
) -> None:
    """It asks for more time and says what is missing, until the database is there."""
    with listening_manager(tmp_path) as systemd:
        async with proxy_to(stage.schema.worker, shut=True) as database:
            stage.start(NOTIFY_SOCKET=systemd.address, WORKER_POSTGRES__DSN=database.url)
            await eventually(lambda: "Not ready: " in systemd.status, "it says why")
            await eventually(
                lambda: "no server listens there" in systemd.status, "it names the database"
            )
            await eventually(
                lambda: systemd.count("EXTEND_TIMEOUT_USEC=30000000") > 2, "it asks for time"
            )
            assert systemd.count("READY=1") == 0
            await database.open()
            await eventually(lambda: systemd.count("READY=1"), "it is ready")
