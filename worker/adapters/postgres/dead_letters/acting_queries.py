"""The SQL that acts on dead letters, by name: one statement a file in `queries/`.

`{chosen}` stands for the condition of a selection, `{given}` for one JSON object of values.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

_QUERIES: Final = resources.files("worker.adapters.postgres") / "queries"


def _read(name: str) -> str:
    return (_QUERIES / f"acting_{name}.sql").read_text(encoding="utf-8")


BEGIN: Final = _read("begin")
BEAT: Final = _read("beat")
END: Final = _read("end")
PREVIEW: Final = _read("preview")
MISSING: Final = _read("missing")
CLAIM_OPEN: Final = _read("claim_open")
CLAIM_ABANDONED: Final = _read("claim_abandoned")
HOLDERS: Final = _read("holders")
IDENTIFY: Final = _read("identify")
PUBLISHED: Final = _read("published")
RELEASE: Final = _read("release")
RECONCILE: Final = _read("reconcile")
OUTCOMES: Final = _read("outcomes")
DISCARDABLE: Final = _read("discardable")
DISCARD: Final = _read("discard")
KEYS: Final = _read("keys")
RESEAL_CHOOSE: Final = _read("reseal_choose")
RESEAL: Final = _read("reseal")
