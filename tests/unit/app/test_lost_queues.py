"""Queues that went missing are noted, and told until somebody has acknowledged it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from worker.app.lost_queues import LostQueues
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Book:
    """Notes as the database does."""

    def __init__(self) -> None:
        self.known: dict[str, datetime | None] = {}
        self.away = False

    async def note_queues(
        self, present: Collection[str], absent: Collection[str]
    ) -> Mapping[str, datetime]:
        """Note them."""
        if self.away:
            raise LedgerUnavailable("away")
        self.known = dict.fromkeys(present) | self.known
        self.known |= {name: NOW for name in absent if name in self.known}
        return {name: since for name, since in self.known.items() if since}


async def test_a_queue_that_was_never_there_has_lost_nothing() -> None:
    """It is missing, which is told, and no more."""
    told: list[str | None] = []
    queues = LostQueues(Book(), told.append)
    queues.seen({"a"}, {"new"})
    await queues.note()
    assert queues.lost == {}
    assert str(told[-1]).startswith(
        "missing on the broker: queue new; run `resolution-worker topol"
    )
    queues.seen({"new"}, ())
    assert told[-1] is None


async def test_one_that_was_there_is_told_until_it_is_acknowledged() -> None:
    """Declared again it is no longer missing, but lost; the log says so once."""
    told: list[str | None] = []
    book = Book()
    queues = LostQueues(book, told.append)
    with capture_logs() as lines:
        queues.seen({"a", "b"}, ())
        await queues.note()
        queues.seen((), {"b"})
        await queues.note()
        assert "messages may be lost: b went missing" in str(told[-1])
        queues.seen({"b"}, ())
        await queues.note()
    assert told[-1] is None
    assert queues.lost == {"b": NOW}
    assert [line["queue"] for line in lines if line["event"] == "messages_may_be_lost"] == ["b"]
    del book.known["b"]  # acknowledged
    await queues.note()
    assert queues.lost == {}


async def test_a_loss_outlives_an_outage_of_the_database() -> None:
    """What was missing meanwhile and is there again is noted all the same."""
    book = Book()
    queues = LostQueues(book, lambda _: None)
    queues.seen({"a"}, ())
    await queues.note()
    book.away = True
    queues.seen((), {"a"})
    with pytest.raises(LedgerUnavailable):
        await queues.note()
    queues.seen({"a"}, ())
    book.away = False
    await queues.note()
    assert queues.lost == {"a": NOW}


async def test_one_that_is_back_and_acknowledged_is_not_lost_again() -> None:
    """Though nobody had noted yet that it is back; if it goes missing once more, it is."""
    book = Book()
    queues = LostQueues(book, lambda _: None)
    queues.seen({"a"}, ())
    await queues.note()
    queues.seen((), {"a"})
    await queues.note()
    queues.seen((), {"a"})
    queues.seen({"a"}, ())
    del book.known["a"]  # acknowledged
    await queues.note()
    assert queues.lost == {}
    queues.seen((), {"a"})
    queues.seen({"a"}, ())
    await queues.note()
    assert queues.lost == {"a": NOW}


async def test_who_sees_last_that_it_is_back_does_not_lose_it_again() -> None:
    """One replica sees it again and it is acknowledged, while another has not looked since."""
    book = Book()
    first, second = (LostQueues(book, lambda _: None) for _ in range(2))
    for queues in (first, second):
        queues.seen({"a"}, ())
        await queues.note()
        queues.seen((), {"a"})
        await queues.note()
    first.seen({"a"}, ())
    del book.known["a"]  # acknowledged
    for queues in (first, second, first):
        await queues.note()
    assert (first.lost, second.lost) == ({}, {})
