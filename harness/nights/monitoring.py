"""Prometheus and Alertmanager as they are deployed, but faster, and what they send."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from harness.nights.desk import desk
from harness.nights.faster import DEPLOYED, faster, rules, yaml
from harness.programs import fetch
from harness.waiting import eventually
from worker.lab.servers.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from harness.nights.site import Site

JOB: Final = "resolution-worker"
_LEAST_INTERVAL: Final = 0.5  # seconds between scrapes: as often as deployed would cost a core
_SEVERITIES: Final = ("page", "ticket")  # what else fires shows that alerts get through
_FETCHED: Final = DEPLOYED.parent / ".prometheus"


@dataclass(frozen=True, slots=True)
class Notification:
    """What Alertmanager has sent once.

    Attributes:
        at: When, on the monotonic clock.
        receiver: The name of the receiver.
        group: What tells its group of alerts from others.
        firing: The names of its alerts that fire.
        new: Those of them that the one before of the same group had not.
        labels: The labels of each alert in it.
    """

    at: float
    receiver: str
    group: str
    firing: frozenset[str]
    new: frozenset[str]
    labels: tuple[dict[str, str], ...]

    @property
    def is_page(self) -> bool:
        """Whether it wakes somebody: it has a new alert, and one whose severity is `page`."""
        return bool(self.new) and any(each["severity"] == "page" for each in self.labels)


@dataclass(slots=True)
class Monitoring:
    """Both servers, while they run.

    Attributes:
        notifications: All that Alertmanager has sent, in its order.
    """

    prometheus: str
    alertmanager: str
    notifications: list[Notification] = field(default_factory=list)

    async def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus's API answers; None while it does not."""
        status, text = await fetch(f"{self.prometheus}/api/v1/{path}?{urlencode(parameters)}")
        return json.loads(text)["data"] if status == 200 else None

    async def alerts(self, state: str = "firing") -> list[dict[str, str]]:
        """The labels of all alerts in this state, as Prometheus sees them now."""
        found = (await self.ask("alerts") or {"alerts": []})["alerts"]
        labels = [alert["labels"] for alert in found if alert["state"] == state]
        return [each for each in labels if each["severity"] in _SEVERITIES]

    async def value(self, query: str) -> float:
        """The one value that a query returns now; NaN if it returns none."""
        results = (await self.ask("query", query=query) or {"result": []})["result"]
        return float(results[0]["value"][1]) if results else float("nan")

    async def calm(self, targets: int) -> None:
        """Wait until all targets are scraped and rules were evaluated, with nothing to tell."""

        async def is_calm() -> bool:
            up = await self.value(f'sum(up{{job="{JOB}"}})')
            groups = (await self.ask("rules") or {"groups": []})["groups"]
            evaluated = groups and all(group["evaluationTime"] for group in groups)
            return bool(up == targets and evaluated and not await self.alerts())

        await eventually(is_calm, "Prometheus scrapes all, and no alert fires")
        self.notifications.clear()  # such as that there was no worker, before the first scrape

    async def hear(self, receiver: str, said: Any) -> dict[str, str]:
        """Note what Alertmanager sends to a receiver."""
        alerts = [
            alert
            for alert in said["alerts"]
            if alert["status"] == "firing" and alert["labels"]["severity"] in _SEVERITIES
        ]
        firing = frozenset(alert["labels"]["alertname"] for alert in alerts)
        before = [each for each in self.notifications if each.group == said["groupKey"]]
        new = firing - before[-1].firing if before else firing
        labels = tuple(alert["labels"] for alert in alerts)
        note = Notification(time.monotonic(), receiver, said["groupKey"], firing, new, labels)
        self.notifications.append(note)
        return {}


@asynccontextmanager
async def monitoring(sites: Sequence[Site], folder: Path, factor: int) -> AsyncIterator[Monitoring]:
    """Watch over sites until the block ends, so many times faster than deployed."""
    await asyncio.to_thread(folder.mkdir)
    prometheus, alertmanager = free_ports(2)
    found = Monitoring(f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}")
    async with desk(found.hear) as url:
        (folder / "alerts.yml").write_text(rules(factor))
        scraping = _scraping(sites, alertmanager, factor)
        (folder / "prometheus.json").write_text(json.dumps(scraping))
        (folder / "alertmanager.json").write_text(json.dumps(_routing(url, factor)))
        with (
            _running(folder, "alertmanager", _alertmanager_options(folder, alertmanager)),
            _running(folder, "prometheus", _prometheus_options(folder, prometheus, factor)),
        ):
            yield found


def _scraping(sites: Sequence[Site], alertmanager: int, factor: int) -> dict[str, Any]:
    """The deployed configuration, with these workers in place of the network's names."""
    deployed = yaml("prometheus/prometheus.yml")
    (job,) = (each for each in deployed["scrape_configs"] if each["job_name"] == JOB)
    # Those say where the workers are, and which installation this is.
    found = {
        name: job[name] for name in job if not name.endswith(("_sd_configs", "relabel_configs"))
    }
    found["static_configs"] = [
        {
            "targets": [f"127.0.0.1:{port}" for port in site.ports.values()],
            "labels": {"environment": site.environment, "cluster": "night"},
        }
        for site in sites
    ]
    where = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
    interval = f"{max(_LEAST_INTERVAL, 15 / factor) * 1000:.0f}ms"
    timing = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    return {
        "global": timing,
        "rule_files": ["alerts.yml"],
        "scrape_configs": [found],
        "alerting": {"alertmanagers": [where]},
    }


def _routing(url: str, factor: int) -> Any:
    """The deployed routes and inhibitions, faster; all receivers are this harness."""
    deployed = faster(yaml("alertmanager/alertmanager.yml"), factor)
    deployed["receivers"] = [
        {
            "name": receiver["name"],
            "webhook_configs": [{"url": url + receiver["name"], "send_resolved": True}],
        }
        for receiver in deployed["receivers"]
    ]
    return deployed


def _prometheus_options(folder: Path, port: int, factor: int) -> list[str]:
    return [
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--query.lookback-delta={300_000 // factor}ms",
        "--rules.alert.resend-delay=1s",
    ]


def _alertmanager_options(folder: Path, port: int) -> list[str]:
    return [
        f"--config.file={folder / 'alertmanager.json'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]


@contextmanager
def _running(folder: Path, name: str, options: Sequence[str]) -> Iterator[None]:
    """One of the two servers until the block ends; it ends with this process at the latest."""
    setpriv = shutil.which("setpriv")
    dying = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMAXPROCS": "1"}
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(
            [*dying, _program(name), *options],
            cwd=_FETCHED if _FETCHED.exists() else folder,  # where Alertmanager's templates are
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield
        finally:
            process.kill()


def _program(name: str) -> str:
    """Where one of Prometheus's programs is."""
    path = os.pathsep.join((os.environ["PATH"], str(_FETCHED / "usr" / "bin")))
    program = shutil.which(name, path=path)
    assert program, f"there is no {name}: run `make prometheus` first"
    return program
