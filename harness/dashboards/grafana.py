"""The dashboards as Grafana reads them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from harness.dashboards.model import BLUE, GREEN, RED, YELLOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.dashboards.model import Board, Json, Panel, Row

RUNBOOKS: Final = "https://example.com/resolution-worker/docs/runbooks"
TAG: Final = "resolution-worker"
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
INSTALLATION: Final = 'environment="$environment", cluster="$cluster"'
FLEET: Final = f'job="resolution-worker", {INSTALLATION}'
WORDS: Final = {
    "INSTALLATION": INSTALLATION,
    "FLEET": FLEET,
    "REPLICAS": f'{FLEET}, instance=~"$instance"',
    "RATE": "$__rate_interval",
}


def document(board: Board, runbooks: str = RUNBOOKS) -> Json:
    """A dashboard; `runbooks` is the address of the folder that these are in."""
    return {
        "uid": f"resolution-{board.name}",
        "title": board.title,
        "description": board.words,
        "tags": [TAG],
        "schemaVersion": 42,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": links(runbooks),
        "annotations": {"list": marks()},
        "templating": {"list": variables()},
        "panels": list(laid_out(board.rows, runbooks)),
    }


def laid_out(rows: Sequence[Row], runbooks: str) -> Iterator[Json]:
    """Rows and panels with their places: from left to right, and on below where one is full."""
    numbers, top = itertools.count(1), 0
    for row in rows:
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        yield {"id": next(numbers), **heading, "gridPos": place}
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > 24:
                top, left, height = top + height, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield {"id": next(numbers), **drawn(panel, runbooks), "gridPos": place}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def drawn(panel: Panel, runbooks: str) -> Json:
    """A panel without its place."""
    found: Json = {"type": panel.kind, "title": panel.title, "description": panel.words}
    if panel.queries:
        found |= {"datasource": SOURCE, "targets": targets(panel), "fieldConfig": fields(panel)}
    if panel.runbooks:
        found["links"] = [
            link(f"Runbook {name}") | {"url": f"{runbooks}/{name}.md"} for name in panel.runbooks
        ]
    return found | panel.more


def targets(panel: Panel) -> list[Json]:
    """A panel's queries, of this moment where it shows no course."""
    now = panel.kind in {"stat", "table"}
    return [
        {
            "datasource": SOURCE,
            "refId": chr(ord("A") + number),
            "editorMode": "code",
            "expr": expanded(query.text),
            **({"legendFormat": query.legend} if query.legend else {}),
            **({"format": "table"} if panel.kind == "table" else {}),
            "instant": now,
            "range": not now,
        }
        for number, query in enumerate(panel.queries)
    ]


def fields(panel: Panel) -> Json:
    """How a panel's values are shown."""
    steps = panel.steps or {0: GREEN}
    defaults: Json = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": color, "value": value if number else None}
                for number, (value, color) in enumerate(steps.items())
            ],
        },
    }
    if panel.none:
        defaults["noValue"] = panel.none
    if panel.names:
        options = {
            f"{value:g}": {"text": name, "color": color, "index": number}
            for number, (value, (name, color)) in enumerate(panel.names.items())
        }
        defaults["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        style = {"mode": "dashed" if panel.steps else "off"}
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "auto", "thresholdsStyle": style}
    return {"defaults": defaults, "overrides": []}


def expanded(query: str) -> str:
    """A query with its words replaced."""
    for word, meaning in WORDS.items():
        query = query.replace(word, meaning)
    return query


def links(runbooks: str) -> list[Json]:
    """From each dashboard to the others, and to the page that leads from a symptom to a runbook."""
    others = link("Dashboards") | {
        "type": "dashboards",
        "tags": [TAG],
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }
    return [others, link("Runbooks") | {"url": f"{runbooks}/README.md"}]


def link(title: str) -> Json:
    """A link to another page, which it opens beside this one."""
    return {
        "title": title,
        "type": "link",
        "icon": "external link",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": True,
        "includeVars": False,
        "keepTime": False,
    }


def variables() -> list[Json]:
    """Data source, environment, cluster and replica, which the dashboards hand on to each other."""
    up = 'up{job="resolution-worker"'
    here = f'{up}, environment="$environment"'
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": "prometheus"},
        },
        variable("environment", "Environment", f"{up}}}"),
        variable("cluster", "Cluster", f"{here}}}"),
        {
            **variable("instance", "Replica", f'{here}, cluster="$cluster"}}'),
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]


def variable(name: str, label: str, series: str) -> Json:
    """A variable whose values are those of the label of its name, which these series have."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"qryType": 1, "query": f"label_values({series}, {name})", "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def marks() -> list[Json]:
    """What happened meanwhile: starts of processes, pauses, stopped calls, and pages."""
    started = (
        "process_start_time_seconds{FLEET} * on (environment, cluster, job, instance) "
        "group_left (version) resolution_build_info{FLEET} * 1000"
    )
    paging = 'ALERTS{INSTALLATION, alertname=~"Resolution.*", alertstate="firing", severity="page"}'
    return [
        annotation("Starts", BLUE, started, "{{version}} started", "{{instance}}")
        | {"useValueForTime": True},
        annotation("Pauses", YELLOW, "max(resolution_paused{FLEET}) > 0", "calls paused"),
        annotation("Breaker", RED, "max(resolution_breaker_open{FLEET}) > 0", "calls stopped: AWS"),
        annotation("Pages", "purple", paging, "{{alertname}}"),
    ]


def annotation(name: str, color: str, query: str, title: str, words: str = "") -> Json:
    """Marks the times at which a query has results above 0."""
    target = {
        "refId": name,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expanded(query),
        "instant": False,
        "range": True,
    }
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": color,
        "target": target,
        "titleFormat": title,
        "textFormat": words,
    }
