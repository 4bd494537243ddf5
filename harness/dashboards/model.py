"""What the dashboards are made of: boards of rows of panels, each with its queries.

In a query `FLEET` stands for the labels of one installation, `REPLICAS` for those of the replicas
chosen of it, `RATE` for the range of a rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"

Json: TypeAlias = "dict[str, Any]"


class Query(NamedTuple):
    """A query and the legend of its results, in which `{{label}}` stands for a label."""

    text: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel.

    Attributes:
        title: What it answers.
        words: How it is to be read.
        queries: What it shows; none for a panel of text.
        kind: Grafana's name of the kind of panel.
        unit: Grafana's name of the unit of the values.
        steps: From which value on it has which colour; the first from the least on.
        names: What is shown instead of a value.
        none: What is shown where there is no value.
        runbooks: The alerts whose runbooks it leads to.
        more: What else the kind needs, to be laid over the panel's members.
        width: Columns of 24.
        height: Rows of some 30 pixels.
    """

    title: str
    words: str = ""
    queries: Sequence[Query] = ()
    kind: str = "timeseries"
    unit: str = "short"
    steps: Mapping[float, str] = field(default_factory=dict)
    names: Mapping[float, tuple[str, str]] = field(default_factory=dict)
    none: str = ""
    runbooks: Sequence[str] = ()
    more: Json = field(default_factory=dict)
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard.

    Attributes:
        name: Its file's name; also the end of its address in Grafana.
    """

    name: str
    title: str
    words: str
    rows: Sequence[Row]


def stat(title: str, words: str, query: str, **more: Any) -> Panel:
    """A panel with one number, coloured by its steps."""
    look = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value",
        "wideLayout": True,
    }
    options: Json = {"queries": [Query(query)], "kind": "stat", "width": 4, "height": 4}
    return Panel(title=title, words=words, more={"options": look}, **(options | more))


def lines(title: str, words: str, *queries: Query | str, **more: Any) -> Panel:
    """A panel of lines over time."""
    given = [each if isinstance(each, Query) else Query(each) for each in queries]
    look = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(title=title, words=words, queries=given, more={"options": look}, **more)


def states(title: str, words: str, query: Query, **more: Any) -> Panel:
    """A panel of states over time, a band for each result."""
    look = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "never",
    }
    options: Json = {"kind": "state-timeline", "more": {"options": look}}
    return Panel(title=title, words=words, queries=[query], **(options | more))


def table(title: str, words: str, query: str, **more: Any) -> Panel:
    """A panel with a line for each result, with its labels."""
    hidden = {"excludeByName": {"Time": True, "Value": True}, "indexByName": {}, "renameByName": {}}
    look = {
        "options": {"cellHeight": "sm", "frameIndex": 0, "showHeader": True},
        "transformations": [{"id": "organize", "options": hidden}],
    }
    return Panel(title=title, words=words, queries=[Query(query)], kind="table", more=look, **more)


def text(title: str, markdown: str, **more: Any) -> Panel:
    """A panel of words."""
    options = {"content": markdown, "mode": "markdown"}
    return Panel(title=title, kind="text", more={"options": options}, **more)


def quantiles(metric: str, labels: str, *shares: float) -> list[Query]:
    """What these shares of a histogram's observations were below."""
    rate = f"sum by (le) (rate({metric}_bucket{{{labels}}}[RATE]))"
    return [Query(f"histogram_quantile({share}, {rate})", f"{share:.0%}") for share in shares]
