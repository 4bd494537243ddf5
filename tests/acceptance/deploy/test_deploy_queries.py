"""The expression of every alert, on a real Prometheus that scrapes real workers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.deploy.scraping import JOB, Query, all_kinds_met, running, served_by, yaml

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

SELECTOR = re.compile(r"\b(?:up|(?:resolution|process)_\w+)\b(?:\{[^}]*\})?")


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


async def test_every_metric_of_an_alert_is_served(shared_worker: Worker) -> None:
    """A worker's /metrics knows every metric that an alert names, before any traffic."""
    await shared_worker.ready()
    served = await served_by(shared_worker)
    named = {query.text.partition("{")[0] for query in alerts()} - {"up"}
    assert len(named) > 20
    assert named <= served, named - served


@pytest.mark.long
async def test_the_expression_of_every_alert_returns_data(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """Two workers that have met tokens of every kind give data to every alert."""
    settings = {"WORKER_RATE__CEILING": "50", "WORKER_AWS__TIMEOUT": "500ms"}
    workers = [await stage.run(**settings) for _ in range(2)]
    with running(tmp_path, [await worker.port() for worker in workers]) as prometheus:
        up = Query("all workers", f'count(up{{job="{JOB}"}} == 1) == {len(workers)}')
        await prometheus.sound(up)
        await all_kinds_met(workers[0], web)
        await prometheus.sound(*alerts())
        groups = (await prometheus.ask("rules"))["groups"]
        evaluated = [rule for group in groups for rule in group["rules"]]
        assert len(evaluated) == len(rules())
        assert {rule["health"] for rule in evaluated} == {"ok"}


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
