"""How long things are kept: whose word it is."""

from __future__ import annotations

from datetime import timedelta

from worker.app.retention import configured, periods, unheeded
from worker.core.dead_letters.retention import Periods
from worker.settings import load

DATABASE: dict[str, float | None] = {
    "ledger": None,
    "unresolved": 7 * 86_400.0,
    "dead_letters": 30 * 86_400.0,
    "audit": 400 * 86_400.0,
}
HERS = timedelta(0)


def test_what_is_not_set_is_left_to_the_database() -> None:
    """Without settings a replica asks for no period of its own, and `migrate` hands none over."""
    settings = load(environ={})
    assert configured(settings) == {}
    assert periods(settings) == Periods(HERS, HERS, HERS, HERS)
    assert list(unheeded(settings, DATABASE)) == []


def test_what_is_set_is_handed_over() -> None:
    """Those that are set, and those alone; `never` is one too."""
    settings = load(
        environ={"WORKER_RETENTION__LEDGER": "90d", "WORKER_RETENTION__UNRESOLVED": "never"}
    )
    assert configured(settings) == {"ledger": 90 * 86_400.0, "unresolved": None}
    assert periods(settings) == Periods(timedelta(days=90), None, HERS, HERS)


def test_a_setting_without_effect_is_named() -> None:
    """A period that is shorter than the database's: longer ones hold, and so does `never`."""
    settings = load(
        environ={
            "WORKER_RETENTION__LEDGER": "90d",
            "WORKER_RETENTION__UNRESOLVED": "8d",
            "WORKER_RETENTION__DEAD_LETTERS": "2d",
            "WORKER_RETENTION__AUDIT": "never",
        }
    )
    told = [words.partition(";")[0] for words in unheeded(settings, DATABASE)]
    assert [words.partition(" has no effect: it is ")[0] for words in told] == [
        "WORKER_RETENTION__LEDGER",
        "WORKER_RETENTION__DEAD_LETTERS",
    ]
    assert told[1].endswith("it is 2 days, but the database keeps these rows 30 days")
