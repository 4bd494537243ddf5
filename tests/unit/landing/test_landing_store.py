"""What the landing page remembers."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from landing.records import Customer
from landing.store import KEPT_SECONDS, LEASE_SECONDS, Store
from landing.visits import page_of
from tests.unit.landing.landing_answers import failed, malformed, pending, rejected, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from landing.records import Setup

BUYER = Customer("arn", "prod-1", "012345678901")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    store = Store(tmp_path / "landing.sqlite")
    yield store
    store.close()


@pytest.fixture
def other(store: Store, tmp_path: Path) -> Iterator[Store]:
    """The same database, in another process as it were."""
    other = Store(tmp_path / "landing.sqlite")
    yield other
    other.close()


def only(store: Store, *secrets: str) -> Setup:
    """The one set-up of a browser."""
    (setup,) = store.setups(secrets)
    return setup


def test_a_set_up_waits_and_is_answered(store: Store, other: Store) -> None:
    """A set-up is found by its secret alone, and its answer by whoever hears of it."""
    store.begin(7, "secret", pending("m"), 5.0)
    waiting = only(other, "secret", "another")
    assert (waiting.number, waiting.at, waiting.answer) == (7, 5.0, None)
    assert waiting.support_code == pending("m").support_code
    assert other.setups(["another"]) == []
    other.record(resolved("m"), 6.0)
    answer = only(store, "secret").answer
    assert answer
    assert (answer.outcome, answer.repeated, answer.customer) == ("resolved", False, BUYER)


def test_an_answer_that_comes_before_its_set_up(store: Store, other: Store) -> None:
    """`settled` may hear of an answer before the page has stored that it waits for it."""
    other.record(rejected("m"), 1.0)
    store.begin(7, "secret", pending("m"), 2.0)
    answer = only(store, "secret").answer
    assert answer
    assert answer.outcome == "rejected"


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (failed("m"), resolved("m", second=9), "resolved"),
        (failed("m"), rejected("m", second=9), "rejected"),
        (rejected("m", second=9), failed("m"), "rejected"),
        (resolved("m"), failed("m", second=9), "resolved"),
        (failed("m"), failed("m"), "failed"),
    ],
)
def test_a_second_answer(store: Store, first: object, second: object, outcome: str) -> None:
    """A replay's answer replaces a failure, an old one heard late nothing; resolved is final."""
    store.begin(7, "secret", first, 1.0)  # type: ignore[arg-type]
    store.record(second, 2.0)  # type: ignore[arg-type]
    answer = only(store, "secret").answer
    assert answer
    assert answer.outcome == outcome


def test_a_malformed_form_is_not_the_first(store: Store) -> None:
    """Nothing was submitted with it, so it is no proof that its browser had the token first."""
    store.begin(1, "a", malformed("m"), 1.0)
    store.begin(2, "b", resolved("n", repeated=True), 2.0)
    bad, good = store.setups(["a", "b"])
    assert bad.answer
    assert bad.answer.outcome == "failed"
    assert page_of([bad, good], None, 3.0, None).state == "returning"
    store.begin(3, "c", failed("o"), 4.0)  # whereas this one was submitted
    assert page_of(store.setups(["a", "b", "c"]), None, 5.0, None).state == "resolved"


def test_an_agreement_is_claimed_once(store: Store, other: Store) -> None:
    """Only one process gets an agreement, and no other until its lease is over."""
    store.begin(7, "secret", resolved("m"), 1.0)
    store.record(resolved("another", repeated=True), 2.0)
    claimed = store.claim(10.0)
    assert claimed
    assert (claimed.customer, claimed.agreement_id, claimed.tries) == (BUYER, "agmt-1", 0)
    assert other.claim(10.0) is None
    again = other.claim(10.0 + LEASE_SECONDS)  # the first process has died
    assert again
    assert again.tries == 1
    assert not store.is_provisioned("arn")
    other.provisioned("arn", 80.0)
    assert store.claim(1e9) is None
    assert store.is_provisioned("arn")


def test_a_failed_agreement_waits_its_turn(store: Store) -> None:
    """One that failed is due later, and others meanwhile."""
    store.record(resolved("m", key="a"), 1.0)
    store.record(resolved("n", key="b"), 1.0)
    first = store.claim(1.0)
    assert first
    store.not_provisioned(first.customer.agreement_key, 50.0)
    second = store.claim(2.0)
    assert second
    assert {first.customer.agreement_key, second.customer.agreement_key} == {"a", "b"}
    store.provisioned(second.customer.agreement_key, 3.0)
    assert store.claim(49.0) is None
    assert store.claim(50.0)


def test_sessions(store: Store, other: Store) -> None:
    """A session is found by its secret until it is ended; its set-up knows when it was used."""
    store.begin(7, "cookie", resolved("m"), 0.0)
    assert only(store, "cookie").used_at is None
    store.sign_in("secret", BUYER, 7, 1.0)
    store.sign_in("another", BUYER, 7, 2.0)
    assert only(store, "cookie").used_at == 1.0
    assert other.session("secret") == BUYER
    assert other.session("") is None
    other.sign_out("secret")
    assert store.session("secret") is None


def test_forgotten_set_ups(store: Store) -> None:
    """What is forgotten is forgotten, and nothing else."""
    store.begin(1, "a", pending("m"), 1.0)
    store.begin(2, "b", pending("n"), 1.0)
    store.forget(["a"])
    assert only(store, "a", "b").number == 2


def test_the_old_is_pruned(store: Store) -> None:
    """After 30 days all is forgotten, but that an agreement was provisioned."""
    store.begin(1, "old", resolved("m"), 1.0)
    store.sign_in("old", BUYER, 1, 1.0)
    store.provisioned("arn", 1.0)
    store.begin(2, "new", failed("n"), 2.0)
    store.prune(1.5 + KEPT_SECONDS)
    assert only(store, "old", "new").number == 2
    assert store.session("old") is None
    store.record(resolved("o"), 1e9)
    assert store.claim(1e9) is None


def test_the_version_changes(store: Store, other: Store) -> None:
    """Whatever changes the database, this process or another, changes its version."""
    seen = [store.version()]
    store.record(failed("m"), 1.0)
    seen.append(store.version())
    other.record(failed("n"), 1.0)
    seen.append(store.version())
    assert len(set(seen)) == 3
    store.claim(1.0)
    other.setups(["x"])
    assert store.version() == seen[-1]


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    """A set-up and its answer are stored together or not at all."""
    store.begin(1, "a", pending("m"), 1.0)
    with pytest.raises(sqlite3.IntegrityError):
        store.begin(1, "b", failed("n"), 1.0)
    store.begin(2, "b", pending("n"), 1.0)
    assert only(store, "b").answer is None


def test_a_full_disk_is_called_one(store: Store) -> None:
    """What can't be stored says why, and nothing is left of it."""
    secrets = [f"{number:064}" for number in range(200)]

    def begin(*numbers: int) -> None:
        for number in numbers:
            store.begin(number, secrets[number], failed(str(number)), 1.0)

    (pages,) = store._sql.execute("PRAGMA page_count").fetchone()
    store._sql.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        begin(*range(200))
    stored = len(store.setups(secrets))
    store._sql.execute("PRAGMA max_page_count = 1000000")
    begin(stored)
    assert len(store.setups(secrets)) == stored + 1


def test_many_begin_at_once(tmp_path: Path) -> None:
    """Processes that start together make the database together, for its owner alone."""

    def begin(number: int) -> None:
        store = Store(tmp_path / "new.sqlite")
        store.begin(number, str(number), resolved(str(number)), 1.0)
        store.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(begin, range(40)))
    store = Store(tmp_path / "new.sqlite")
    assert len(store.setups([str(number) for number in range(40)])) == 40
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("new.sqlite*")}
    store.close()
    assert modes == {0o600}


_OPEN_AND_CLOSE = """
import sys
from pathlib import Path
from landing.store import Store

Store(Path(sys.argv[1])).close()
"""


def test_connections_of_one_process_leave_each_other_alone(store: Store, tmp_path: Path) -> None:
    """What a thread opens and closes takes no lock from another: what that writes is kept."""
    file = tmp_path / "landing.sqlite"
    store.begin(1, "a", pending("m"), 1.0)
    Store(file).close()
    # A process that finds no lock takes itself for the last one, and tidies up.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _OPEN_AND_CLOSE, str(file)], check=True, env=environment)
    store.begin(2, "b", pending("n"), 1.0)
    again = Store(file)
    assert len(again.setups(["a", "b"])) == 2
    again.close()


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out at the start, and not by the first buyer."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="can't be written"):
        Store(tmp_path / "landing.sqlite")
