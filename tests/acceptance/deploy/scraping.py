"""A real Prometheus that scrapes real workers, and tokens of every kind for them."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from ruamel.yaml import YAML

from harness.programs import fetch
from harness.waiting import eventually
from tests.acceptance.outcomes import buyers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.programs import Worker
    from harness.web_tier import WebTier

ROOT = Path(__file__).parents[3]
DEPLOYED = ROOT / "deploy"
JOB = "resolution-worker"
PLACE = {"environment": "trial", "cluster": "compose"}
DEAD_LETTERS = ("rejected", "expired", "dead", "malformed")


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it is deployed.

    Attributes:
        where: Which panel or alert it is of.
        text: With its variables replaced.
        labels: What its results must have, for the legend names it.
    """

    where: str
    text: str
    labels: frozenset[str] = frozenset()


def yaml(file: str) -> Any:
    """A YAML file of the deployment."""
    return YAML(typ="safe").load(DEPLOYED / file)


class Prometheus:
    """A running Prometheus on loopback."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self._log = log
        self._url = f"http://127.0.0.1:{port}/api/v1"

    async def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        assert self._process.poll() is None, self._log.read_text()
        status, text = await fetch(f"{self._url}/{path}?{urlencode(parameters)}")
        assert status in {0, 200}, text
        return json.loads(text)["data"] if status else None

    async def fault(self, query: Query) -> str:
        """What is wrong with what a query returns; nothing if it returns data."""
        results = (await self.ask("query", query=query.text) or {}).get("result", [])
        if not results:
            return f"{query.where} returns nothing: {query.text}"
        if all(math.isnan(float(result["value"][1])) for result in results):
            return f"{query.where} returns no number: {query.text}"
        if any(query.labels - result["metric"].keys() for result in results):
            return f"{query.where} lacks one of the labels {set(query.labels)}: {query.text}"
        return ""

    async def faults(self, *queries: Query) -> list[str]:
        """What is wrong with several."""
        return [fault for query in queries if (fault := await self.fault(query))]

    async def sound(self, *queries: Query) -> None:
        """Wait until all of these queries return data."""
        faults: list[str] = []

        async def no_fault() -> bool:
            await asyncio.sleep(0.5)
            faults[:] = await self.faults(*queries)
            return not faults

        try:
            await eventually(no_fault, "all queries return data")
        except AssertionError:
            pytest.fail("\n".join(faults))


def program(name: str) -> str:
    """One of Prometheus's programs."""
    path = os.pathsep.join((os.environ["PATH"], str(ROOT / ".prometheus" / "usr" / "bin")))
    found = shutil.which(name, path=path)
    assert found, f"there is no {name}: run `make prometheus` first"
    return found


def configuration(workers: list[int]) -> Mapping[str, Any]:
    """The deployed configuration, with these workers' ports in place of the network's names."""
    deployed = yaml("prometheus/prometheus.yml")
    deployed["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s")
    deployed["rule_files"] = [
        str(DEPLOYED / "prometheus" / name) for name in deployed["rule_files"]
    ]
    (scraped,) = (job for job in deployed["scrape_configs"] if job["job_name"] == JOB)
    del scraped["dns_sd_configs"]
    targets = [f"127.0.0.1:{port}" for port in workers]
    scraped["static_configs"] = [{"targets": targets, "labels": PLACE}]
    deployed["scrape_configs"] = [scraped]
    return dict(deployed)


@contextmanager
def running(home: Path, workers: list[int]) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these ports, until the block ends."""
    config, log = home / "prometheus.yml", home / "prometheus.log"
    config.write_text(json.dumps(configuration(workers)))  # JSON is YAML
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GOMAXPROCS": "1"}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=home, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield Prometheus(process, port, log)
        finally:
            process.terminate()


async def send_all_kinds(web: WebTier) -> None:
    """Tokens of every kind, in both lanes, each until it is answered."""
    long_ago = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    sent = [
        await web.submit(f"{kind}-{lane}-{n}", lane=lane, reply_to=web.reply_to)
        for kind in ("ok", "new", "old", "same-c", "throttle-1", "fail-1", "slow-50")
        for lane in ("live", "backlog")
        for n in range(5)
    ]
    odd = ("invalid", "expired", "empty", "garbage", "hang", "fail-9", "denied")
    sent += [await web.submit(f"{kind}-1", reply_to="elsewhere") for kind in odd]
    sent.append(await web.submit("ok-late", received_at=long_ago))
    await web.event(sent[0])
    sent.append(await web.submit("ok-live-0"))
    await web.publish(b"no JSON", message_id="m-malformed")
    async with buyers(web):
        for message_id in (*sent, "m-malformed"):
            await web.event(message_id)


async def all_kinds_met(worker: Worker, web: WebTier) -> None:
    """Tokens of every kind are answered, and this worker counts the dead letters among them."""
    await send_all_kinds(web)

    async def are_counted() -> bool:
        counted = (await worker.metrics()).get("resolution_dead_letters", {})
        return all(counted.get((("reason", reason),)) for reason in DEAD_LETTERS)

    await eventually(are_counted, f"dead letters are counted: {DEAD_LETTERS}")


async def served_by(worker: Worker) -> set[str]:
    """The names of all series that a worker serves, whether they have a sample yet or not."""
    _, text = await worker.get("/metrics")
    served: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        served.update(name + suffix for suffix in suffixes)
    return served
