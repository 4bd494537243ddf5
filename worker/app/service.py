"""The life of a replica: start, watch, reload, drain."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker import __version__
from worker import settings as configuration
from worker.adapters import logs
from worker.adapters.aws import open_marketplace
from worker.adapters.aws.addresses import shown
from worker.adapters.http import serving
from worker.adapters.metrics import Metrics
from worker.adapters.postgres.stand_in import NotAStandIn
from worker.adapters.systemd import ServiceManager
from worker.app import loop_lag
from worker.app import wiring as building
from worker.app.collector import tune_collector
from worker.app.readiness_log import ReadinessLog
from worker.app.service_reports import ServiceReports
from worker.core import backoff
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from worker.app.components import Components
    from worker.settings import Settings

log: Final = structlog.get_logger()

_LOOK_SECONDS: Final = 5.0
_SUMMARY_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 2.0
_ACK_SECONDS: Final = 1.0


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then drain. A second signal ends the process at once.

    Args:
        settings: Validated, and with a seal key.

    Raises:
        PortTaken: The worker can't listen on the HTTP port.
        BadKey: The seal key is unusable.
        BadAwsSetup: AWS's own configuration can't be used, or the endpoint is not allowed.
        NotAStandIn: The endpoint is unencrypted, and the database is not marked as a playground.
    """
    manager = ServiceManager.of()
    logs.install_hooks(asyncio.get_running_loop())
    log.info("starting", version=__version__, pid=os.getpid())
    async with AsyncExitStack() as stack:
        stack.callback(manager.close)
        marketplace = await stack.enter_async_context(open_marketplace(building.endpoint(settings)))
        address, proxy = marketplace.address, marketplace.route.proxy
        log.info(
            "aws_endpoint",
            url=shown(address),
            named_by=address.named_by,
            proxy=str(proxy) if proxy else None,
            proxy_named_by=proxy.named_by if proxy else None,
        )
        if address.doubt:
            log.warning("aws_region_unknown", reason=address.doubt)
        parts = building.assemble(settings, marketplace, Metrics())
        stack.push_async_callback(parts.database.close)
        await stack.enter_async_context(_listening(settings, parts))
        tune_collector()
        await _Life(settings, parts, manager).lead()
    log.info("stopped")


@asynccontextmanager
async def _listening(settings: Settings, parts: Components) -> AsyncIterator[None]:
    host = settings.http.host
    async with serving(
        host,
        settings.http.port,
        registry=parts.metrics.registry,
        alive=parts.standstill,
        ready=parts.faults,
        notes=parts.notes,
    ) as port:
        log.info("http_listening", host=host, port=port)
        yield


class _Life:
    """The running of a replica, from the first connection to the last ack."""

    def __init__(self, settings: Settings, parts: Components, manager: ServiceManager) -> None:
        self._settings = settings
        self._parts = parts
        self._ledger_report = parts.health.reporter("ledger")
        self._service_reports = ServiceReports(
            manager,
            alive=parts.standstill,
            faults=parts.faults,
            state=parts.state_reports.look,
        )
        self._readiness = ReadinessLog(parts.faults)
        self._stop = asyncio.Event()
        self._refusal: NotAStandIn | None = None

    async def lead(self) -> None:
        """Run all parts, and end them in order after a signal.

        Raises:
            NotAStandIn: This database must not be written; nothing was consumed.
        """
        parts = self._parts
        with self._signals():
            async with asyncio.TaskGroup() as group:
                pipeline = group.create_task(parts.replica.pipeline.run(), name="pipeline")
                tasks = [
                    group.create_task(parts.publishing.run(), name="publishing"),
                    group.create_task(self._consume(), name="consuming"),
                    group.create_task(self._look(), name="looking"),
                    group.create_task(parts.secrets.run(), name="secrets"),
                    group.create_task(loop_lag.measure(parts.metrics.lag), name="loop lag"),
                    group.create_task(self._summarise(), name="summary"),
                    group.create_task(self._service_reports.run(), name="service reports"),
                ]
                retention = group.create_task(parts.retention.run(), name="retention")
                reports = group.create_task(parts.state_reports.run(), name="state reports")
                await self._stop.wait()
                self._service_reports.stopping(self._settings.pool.drain)
                retention.cancel()
                reports.cancel()
                await parts.state_reports.leave()
                await self._drain()
                await pipeline
                for task in tasks:
                    task.cancel()
        if self._refusal is not None:
            raise self._refusal

    async def _consume(self) -> None:
        """Start to consume once the ledger is ready to record outcomes."""
        failures = 0
        while True:
            try:
                await self._parts.database.ledger.check()
            except NotAStandIn as refusal:
                self._refusal = refusal
                self._stop.set()
                return
            except LedgerUnavailable as error:
                failures += 1
                self._ledger_report(str(error))
                delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
                log.warning("waiting_for_ledger", reason=str(error))
                await asyncio.sleep(delay)
            else:
                self._ledger_report(None)
                await self._parts.replica.lease_keeper.joined.wait()
                self._parts.prefetch.apply()
                await self._parts.consuming.run()
                return

    async def _look(self) -> None:
        """Look at the ledger for readiness, and at what it counts for the whole fleet."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._parts.prefetch.apply()
            try:
                await self._parts.fleet_counts.look()
            except LedgerUnavailable as error:
                self._ledger_report(str(error))
            else:
                self._ledger_report(None)
            self._readiness.look()

    async def _summarise(self) -> None:
        """Log a line at info about what was settled since the last one, if anything was."""
        before: Counter[str] = Counter()
        while True:
            await asyncio.sleep(_SUMMARY_SECONDS)
            settled = Counter(self._parts.metrics.settled)
            if new := settled - before:
                log.info("settled", seconds=_SUMMARY_SECONDS, **new)
            before = settled

    # --- signals ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._asked_to_stop,
            signal.SIGINT: self._asked_to_stop,
            signal.SIGHUP: self._reload,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler, number)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            log.warning("stopped_at_once", signal=number.name)
            os._exit(128 + number)
        log.info("draining", signal=number.name, seconds=self._settings.pool.drain)
        self._stop.set()

    def _reload(self, _: signal.Signals) -> None:
        """Apply a new ceiling, patience and log level; other settings need a restart."""
        try:
            settings = configuration.reload(self._settings)
        except configuration.SettingsError as error:
            log.error("reload_refused", faults=error.faults)
            return
        self._parts.database.fleet.ceiling = settings.rate.ceiling
        self._parts.replica.demoter.change(settings.token.patience)
        self._parts.prefetch.patience_seconds = settings.token.patience
        logs.set_level(settings.log.level)
        log.info(
            "reloaded",
            ceiling=settings.rate.ceiling,
            patience_seconds=settings.token.patience,
            level=settings.log.level,
        )

    # --- drain ---

    async def _drain(self) -> None:
        """Stop deliveries, finish or give back the messages in hand, and wait for their acks.

        Each step has a share of the time limit, so that together they stay within it.
        """
        bound = self._settings.pool.drain
        stopping = min(_STOP_SECONDS, bound / 5)
        acking = min(_ACK_SECONDS, bound / 5)
        with suppress(TimeoutError):
            async with asyncio.timeout(stopping):
                await self._parts.consuming.stop()
        await self._parts.replica.pipeline.drain(bound - stopping - 2 * acking)
        with suppress(TimeoutError):
            async with asyncio.timeout(acking):
                await self._parts.consuming.settle()
