"""Every query of dashboard and alerts, on a real Prometheus that scrapes real workers."""

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

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

ROOT = Path(__file__).parents[3]
DEPLOYED = ROOT / "deploy"
JOB = "resolution-worker"
SERIES = re.compile(r"\b(?:resolution|process)_[a-z_]+\b")
LEGEND = re.compile(r"{{\s*(\w+)\s*}}")
SELECTOR = re.compile(r"\b(?:up|(?:resolution|process)_\w+)\b(?:\{[^}]*\})?")
VARIABLES = {
    "$__rate_interval": "1m",
    "$job": JOB,
    "$instance": ".*",
    "${datasource}": "prometheus",
}
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


def dashboard() -> Any:
    """The dashboard as Grafana is given it."""
    file = DEPLOYED / "grafana" / "dashboards" / "resolution.json"
    return json.loads(file.read_text(encoding="utf-8"))


def panels() -> list[Query]:
    """The queries of all panels."""
    return [
        Query(
            f"panel {panel['title']!r}, {target['refId']}",
            replaced(target["expr"]),
            frozenset(LEGEND.findall(target.get("legendFormat", ""))),
        )
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def rules() -> list[Any]:
    """All alerts, and the rules that they are reckoned from."""
    return [rule for group in yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def alerts() -> list[Query]:
    """What the rules read of workers; the rules themselves are empty while all is well."""
    return [
        Query(f"rule {rule.get('alert') or rule['record']}", selector)
        for rule in rules()
        for selector in SELECTOR.findall(rule["expr"])
    ]


def replaced(text: str) -> str:
    """A query with Grafana's variables replaced, all of which must be known."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


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
    scraped["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in workers]}]
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


def empty_letters(metrics: Mapping[str, Mapping[Any, float]]) -> list[str]:
    """Reasons for which a worker counts no dead letter yet."""
    counted = metrics.get("resolution_dead_letters", {})
    return [reason for reason in DEAD_LETTERS if not counted.get((("reason", reason),))]


@pytest.mark.long
async def test_every_query_of_dashboard_and_alerts_returns_data(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """Two workers that have met tokens of every kind give data to every panel and every alert."""
    settings = {"WORKER_RATE__CEILING": "50", "WORKER_AWS__TIMEOUT": "500ms"}
    workers = [await stage.run(**settings) for _ in range(2)]
    with running(tmp_path, [await worker.port() for worker in workers]) as prometheus:
        up = Query("all workers", f'count(up{{job="{JOB}"}} == 1) == {len(workers)}')
        await prometheus.sound(up)
        await send_all_kinds(web)

        async def letters_are_counted() -> bool:
            return not empty_letters(await workers[0].metrics())

        await eventually(letters_are_counted, f"dead letters are counted: {DEAD_LETTERS}")
        await prometheus.sound(*panels(), *alerts())
        await prometheus.sound(*variables())
        groups = (await prometheus.ask("rules"))["groups"]
        evaluated = [rule for group in groups for rule in group["rules"]]
        assert len(evaluated) == len(rules())
        assert {rule["health"] for rule in evaluated} == {"ok"}


def variables() -> list[Query]:
    """What the dashboard's variables are read from: a series and the label that it must have."""
    read = re.compile(r"label_values\((.+), (\w+)\)")
    return [
        Query(f"variable {variable['name']}", replaced(match[1]), frozenset({match[2]}))
        for variable in dashboard()["templating"]["list"]
        if variable["type"] == "query" and (match := read.fullmatch(variable["query"]["query"]))
    ]


async def test_every_metric_of_dashboard_and_alerts_is_served(shared_worker: Worker) -> None:
    """A worker's /metrics knows every metric that a panel or an alert names, before any traffic."""
    await shared_worker.ready()
    _, text = await shared_worker.get("/metrics")
    served: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        served.update(name + suffix for suffix in suffixes)
    named = {name for query in (*panels(), *alerts()) for name in SERIES.findall(query.text)}
    assert len(named) > 20
    assert named <= served, named - served


async def test_a_query_of_an_unknown_metric_is_found_out(
    shared_worker: Worker, tmp_path: Path
) -> None:
    """What the other tests rely on: a misspelt metric or label, or 0/0, does not pass for data."""
    await shared_worker.ready()
    with running(tmp_path, [await shared_worker.port()]) as prometheus:
        sound = Query("sound", "max by (instance) (up)", frozenset({"instance"}))
        await prometheus.sound(sound)
        unsound = [
            Query("misspelt", "sum(resolution_submission_total)"),
            Query("misspelt label", "max by (instance) (up)", frozenset({"replica"})),
            Query("no number", "up * 0 / 0"),
        ]
        assert len(await prometheus.faults(sound, *unsound)) == len(unsound)


def test_the_dashboard_has_variables_and_panels_of_its_own_ids() -> None:
    """Panels have ids of their own, do not overlap, and use only the dashboard's data source."""
    board = dashboard()
    assert len(variables()) == 2
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(board["panels"]))
    assert set(sources) == {"${datasource}"}
    provisioned = yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert [source["uid"] for source in provisioned] == [
        board["templating"]["list"][0]["current"]["value"]
    ]
