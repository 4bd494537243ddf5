"""Grafana's dashboards: their files, and every query on a real Prometheus that scrapes workers."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from harness.dashboards.boards import BOARDS, FOLDER, files
from harness.tcp_proxy import proxy_to
from tests.acceptance.deploy.scraping import (
    JOB,
    PLACE,
    ROOT,
    Query,
    all_kinds_met,
    running,
    served_by,
    yaml,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier
    from tests.acceptance.deploy.scraping import Prometheus

CHECK = ROOT / "requirements" / "grafana" / "check.mjs"
SERIES = re.compile(r"\b(?:resolution|process)_[a-z_]+\b")
LABEL = re.compile(r"{{\s*(\w+)\s*}}")
VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "5m",
    "$instance": ".*",
    **{f"${name}": value for name, value in PLACE.items()},
}
BY_BROKER = "resolution_queue_messages"
BY_DATABASE = re.compile(
    "resolution_(dead_letters|queues_lost|outbox_events|pause_seconds|wanted_replicas)"
    '|scope="shared"'
)
PAUSED, STOPPED = 1, 2


def boards() -> dict[str, Any]:
    """The dashboards as Grafana is given them, by the names of their files."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")
    }


def panels() -> Iterator[Any]:
    """All panels but the headings."""
    for board in boards().values():
        yield from (panel for panel in board["panels"] if panel["type"] != "row")


def replaced(text: str) -> str:
    """A query with Grafana's variables replaced, all of which must be known."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def queries() -> list[Query]:
    """The queries of all panels."""
    return [
        Query(
            f"panel {panel['title']!r}, {target['refId']}",
            replaced(target["expr"]),
            frozenset(LABEL.findall(target.get("legendFormat", ""))),
        )
        for panel in panels()
        for target in panel.get("targets", ())
    ]


def variables() -> list[Query]:
    """What the variables are read from: a series and the label that it must have."""
    read = re.compile(r"label_values\((.+), (\w+)\)")
    (listed,) = {json.dumps(board["templating"]["list"]) for board in boards().values()}
    given = [each["query"]["query"] for each in json.loads(listed) if each["type"] == "query"]
    matches = [match for query in given if (match := read.fullmatch(query))]
    assert len(matches) == len(given)
    return [Query(f"variable {one[2]}", replaced(one[1]), frozenset({one[2]})) for one in matches]


def annotation(name: str) -> Query:
    """The query of an annotation."""
    (listed,) = {json.dumps(board["annotations"]["list"]) for board in boards().values()}
    (one,) = (each for each in json.loads(listed) if each["name"] == name)
    labels = LABEL.findall(one["titleFormat"] + one["textFormat"])
    return Query(f"annotation {name}", replaced(one["target"]["expr"]), frozenset(labels))


def calls_are(state: int) -> Query:
    """Returns data once the panel about calls shows this state."""
    (query,) = (each for each in queries() if each.where == "panel 'Calls to AWS', A")
    return Query(query.where, f"({query.text}) == {state}")


def is_there(metric: str) -> Query:
    """A metric that says no more than whether it is there."""
    return Query(metric, f"count({metric})")


# --- files ---


def test_the_files_are_what_the_source_makes() -> None:
    """`make pages` writes them: whoever edits a file edits the source."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == files()


def test_links_lead_to_runbooks_wherever_they_are() -> None:
    """With another address all links of panels, and none else, change."""
    moved = files("https://wiki/runbooks")
    text = "".join(moved.values())
    assert "example.com" not in text
    assert text.count("https://wiki/runbooks/") > len(BOARDS)


def check(*given: Path) -> list[dict[str, Any]]:
    """What the types of @grafana/schema say against dashboards."""
    assert CHECK.parent.joinpath("node_modules").is_dir(), "run `make node` first"
    done = subprocess.run(
        ["node", CHECK, *given], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_grafanas_types_find_nothing_wrong() -> None:
    """The dashboards have the members, and the values, that Grafana's schema knows."""
    assert check(*FOLDER.glob("*.json")) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"refId"', '"refID"'),
        ('"colorMode": "background"', '"colorMode": "behind"'),
        ('"keepTime": true', '"keepTime": "yes"'),
        ('"fillOpacity"', '"opacity"'),
        ('"showLegend": true,', ""),
    ],
)
def test_grafanas_types_find_what_is_wrong(before: str, after: str, tmp_path: Path) -> None:
    """A misspelt member, a word that is none of an enumeration, a wrong type, a missing member."""
    text = (FOLDER / "calls.json").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text.replace(before, after, 1), encoding="utf-8")
    assert wrong.read_text(encoding="utf-8") != text
    assert check(wrong) != []


@pytest.mark.parametrize("name", sorted(boards()))
def test_panels_have_places_of_their_own(name: str) -> None:
    """Panels have ids of their own, do not overlap, and use only the dashboard's data source."""
    board = boards()[name]
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


def test_every_alert_has_a_panel_that_leads_to_its_runbook() -> None:
    """Whoever is paged finds the page from the picture, and no link leads to a page of none."""
    links = [link["url"] for panel in panels() for link in panel.get("links", ())]
    linked = {url.rpartition("/")[2].removesuffix(".md") for url in links}
    rules = [rule for group in yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    assert linked == {rule["alert"] for rule in rules if "alert" in rule}


async def test_every_metric_of_a_panel_is_served(shared_worker: Worker) -> None:
    """A worker's /metrics knows every metric that a panel names, before any traffic."""
    await shared_worker.ready()
    served = await served_by(shared_worker)
    named = {name for query in queries() for name in SERIES.findall(query.text)}
    assert len(named) > 40
    assert named <= served, named - served


# --- queries ---


async def of_two_workers(
    stage: Installation, prometheus: Prometheus, workers: list[Worker], web: WebTier
) -> None:
    """Every query returns data under load, and while an operator or AWS holds calls."""
    up = Query("all workers", f'count(up{{job="{JOB}"}} == 1) == {len(workers)}')
    await prometheus.sound(up)
    await all_kinds_met(workers[0], web)
    await prometheus.sound(*queries(), *variables(), annotation("Starts"), calls_are(0))
    assert len(await prometheus.faults(annotation("Pauses"), annotation("Breaker"))) == 2

    assert stage.command("pause", "--reason", "a test").returncode == 0
    await prometheus.sound(*queries(), annotation("Pauses"), calls_are(PAUSED))
    assert stage.command("resume", "--reason", "a test").returncode == 0

    await stage.simulator.order("PUT", "fault", {"code": "AccessDeniedException", "message": "no"})
    for number in range(4):
        await web.submit(f"ok-denied-{number}")
    await prometheus.sound(*queries(), annotation("Breaker"), calls_are(STOPPED))
    await stage.simulator.order("DELETE", "fault")
    await prometheus.sound(calls_are(0))


@pytest.mark.long
async def test_every_query_returns_data_under_load_and_under_faults(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """All do but those of what can't be known: queues and letters while their server is away."""
    async with (
        proxy_to(stage.worker_url, shut=True) as broker,
        proxy_to(stage.schema.worker, shut=True) as database,
    ):
        await broker.open()
        await database.open()
        settings = {
            "WORKER_RATE__CEILING": "50",
            "WORKER_AWS__TIMEOUT": "500ms",
            "WORKER_AMQP__URL": broker.url,
            "WORKER_POSTGRES__DSN": database.url,
        }
        workers = [await stage.run(**settings) for _ in range(2)]
        with running(tmp_path, [await worker.port() for worker in workers]) as prometheus:
            await of_two_workers(stage, prometheus, workers, web)

            await broker.shut()
            fault = Query("broker", 'min(resolution_fault{part="consuming"}) == 1')
            await prometheus.sound(fault, Query("absent", f"absent({BY_BROKER})"))
            known = [query for query in queries() if BY_BROKER not in query.text]
            await prometheus.sound(*known)
            assert 0 < len(await prometheus.faults(*queries())) == len(queries()) - len(known)
            await broker.open()
            await prometheus.sound(is_there(BY_BROKER))

            await database.shut()
            fault = Query("database", 'min(resolution_fault{part="ledger"}) == 1')
            absent = Query("absent", "absent(resolution_dead_letters_redeemable)")
            await prometheus.sound(fault, absent)
            known = [query for query in queries() if not BY_DATABASE.search(query.text)]
            await prometheus.sound(*known)
            assert 0 < len(await prometheus.faults(*queries())) == len(queries()) - len(known)
            await database.open()
            await prometheus.sound(*queries())
            pages = await prometheus.ask("query", query=annotation("Pages").text)
            assert pages["result"] == []  # nothing has lasted long enough

            for worker in workers:
                worker.kill()
            gone = Query("gone", "sum(up) == 0")
            await prometheus.sound(gone, *variables())  # an outage can still be chosen
