"""The package's SQL by name: one statement a file in `queries/`."""

from __future__ import annotations

from importlib import resources
from typing import Final

_QUERIES: Final = resources.files("worker.adapters.postgres") / "queries"


def _read(name: str) -> str:
    return (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")


SETTLE: Final = _read("settle")
RECALL: Final = _read("recall")
REMEMBER_CUSTOMERS: Final = _read("remember_customers")
REMEMBER_AGREEMENTS: Final = _read("remember_agreements")
TELL_LETTERS: Final = _read("tell_letters")
CLOSE_LETTERS: Final = _read("close_letters")
NOTE_MALFORMED: Final = _read("note_malformed")
DEAD_LETTER_COUNTS: Final = _read("dead_letter_counts")
RECORD_AUDIT: Final = _read("record_audit")
FIRST_EXPIRIES: Final = _read("first_expiries")
REDEEMABLE: Final = _read("redeemable")
READINESS: Final = _read("readiness")
BACKEND: Final = _read("backend")
PERIODS: Final = _read("periods")
STAND_IN: Final = _read("stand_in")
STAND_IN_MARK: Final = _read("stand_in_mark")
MIGRATION_LOCK: Final = _read("migration_lock")
MIGRATION_BOUNDS: Final = _read("migration_bounds")
MIGRATION_GROUND: Final = _read("migration_ground")
MIGRATION_LIST: Final = _read("migration_list")
MIGRATION_PERIODS: Final = _read("migration_periods")
MIGRATION_RECORD: Final = _read("migration_record")
SCHEMA_VERSION: Final = _read("schema_version")
LETTER_GROUPS: Final = _read("letter_groups")
LETTER_PAGE: Final = _read("letter_page")
LETTER_WHOLE: Final = _read("letter_whole")
LETTER_HISTORY: Final = _read("letter_history")
LETTER_NAMESAKES: Final = _read("letter_namesakes")
OPEN_PAYLOADS: Final = _read("open_payloads")
UNGROUPED_LETTERS: Final = _read("ungrouped_letters")
GROUP_LETTERS: Final = _read("group_letters")
