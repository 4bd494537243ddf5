"""The SQL about what a fleet shares, by name: one statement a file in `queries/`."""

from __future__ import annotations

from importlib import resources
from typing import Final

_QUERIES: Final = resources.files("worker.adapters.postgres") / "queries"


def _read(name: str) -> str:
    return (_QUERIES / f"fleet_{name}.sql").read_text(encoding="utf-8")


LOOK: Final = _read("look")
LEASE: Final = _read("lease")
PERMIT: Final = _read("permit")
PROBE: Final = _read("probe")
LEAVE: Final = _read("leave")

ROW: Final = _read("row")
REPLICAS: Final = _read("replicas")

PAUSE: Final = _read("pause")
RESUME: Final = _read("resume")
CEILING: Final = _read("ceiling")
SEARCH: Final = _read("search")
