"""The page of all metrics, made from the worker's registry; `python -m harness.metrics_page`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.adapters.metrics import Metrics
from worker.adapters.metrics.readings import READABLE
from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED
from worker.app.readings import PARTS
from worker.core.records import Lane, LetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"

_READ: Final = {each.name: each for each in READABLE}
_READ_VALUES: Final[Mapping[str, str]] = {
    "lane": ", ".join(f"`{lane.label}`" for lane in Lane),
    "part": ", ".join(f"`{part}`" for part in PARTS),
    "scope": "`shared`, `local`",
    "link": "`consuming`, `publishing`, `ledger`",
    "reason": ", ".join(f"`{reason.value}`" for reason in LetterReason),
    "queue": ", ".join(f"`{name}`" for name in (*LANE_QUEUES.values(), PARKED))
    + ", `resolution.retry.…`",
}
_HEAD: Final = """\
# Metrics

Each worker serves these at `/metrics` (`WORKER_HTTP__HOST`, `WORKER_HTTP__PORT`), in base units.
[Objectives](objectives.md) say which of them are promises, [runbooks](runbooks/README.md) what to
do about an alert. This page is made from the worker's own registry (`make pages`).

* A counter ends in `_total` and begins at 0 with its process: use `rate` or `increase`, then `sum`.
* A gauge of one replica is summed (`resolution_unacked`), or the worst of all is taken
  (`resolution_longest_in_hand_seconds`).
* What describes the whole fleet is **the same on each replica**: take `max`, never `sum`.
* What can't be known is absent, not 0 and not what it was before: queues while the broker is away,
  dead letters while the database is. An alert on it is silent then, and one on the outage is not.
* No label holds anything that is derived from a token or a customer.
* Each process also has Prometheus's own `process_…` (memory, CPU, files, start) and `python_info`.
"""


def text() -> str:
    """The page as its file holds it."""
    ours = [each for each in Metrics().registry.collect() if each.name.startswith("resolution_")]
    lines = ["| metric | kind | meaning |", "| --- | --- | --- |"]
    lines += [_row(family) for family in sorted(ours, key=lambda each: each.name)]
    return f"{_HEAD}\n" + "\n".join(lines) + "\n"


def _row(family: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    labels = dict(_labels(family))
    braces = f"{{{','.join(labels)}}}" if labels else ""
    values = "".join(f"<br>{name}: {said}" for name, said in labels.items() if said)
    return f"| `{family.name}{suffix}{braces}` | {family.type} | {family.documentation}{values} |"


def _labels(family: Metric) -> Iterator[tuple[str, str]]:
    """Each label, and its values where they are known before anything happens."""
    suffix = "_total" if family.type == "counter" else ""
    read = _READ.get(family.name) or _READ.get(family.name + suffix)
    if read is not None:
        yield from [(read.label, _READ_VALUES[read.label])] if read.label else []
        return
    names = {name: None for sample in family.samples for name in sample.labels if name != "le"}
    for name in names:
        values = dict.fromkeys(sample.labels[name] for sample in family.samples)
        known = "" if family.type == "info" else ", ".join(f"`{value}`" for value in values)
        yield name, known


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
