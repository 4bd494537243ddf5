"""The stand-in for the ledger, held to the real one's suite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fakes.ledger import FakeLedger
from tests.fakes.ledger_suite import LedgerSuite, LetterRow, failed
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Batch

if TYPE_CHECKING:
    from tests.fakes.ledger import Agreement, Customer
    from tests.fakes.ledger_suite import Bench


class FakeBench:
    """The fake, which hides nothing."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()

    async def agreements(self) -> list[Agreement]:
        """All agreements."""
        return list(self.ledger.agreements.values())

    async def customers(self) -> list[Customer]:
        """All customers."""
        return list(self.ledger.customers.values())

    async def letters(self) -> list[LetterRow]:
        """All dead letters."""
        return [
            LetterRow(
                kept.letter.message_id,
                kept.state,
                kept.letter.reason.value,
                kept.letter.error_code,
                kept.letter.attempts,
                kept.occurrences,
                None if kept.letter.metadata is None else kept.letter.metadata.decode(),
                kept.letter.sealed,
            )
            for kept in self.ledger.letters.values()
        ]

    async def malformed(self) -> list[tuple[str, str]]:
        """Message id and reason of all that could not be read."""
        return [
            (message.message_id, f"{message.code}: {message.reason}")
            for message in self.ledger.malformed.values()
        ]

    async def set_letter_state(self, state: str) -> None:
        """Do to all letters what an operator does to them."""
        for name, kept in self.ledger.letters.items():
            self.ledger.letters[name] = replace(kept, state=state)


class TestFakeLedger(LedgerSuite):
    """The suite, on the fake."""

    @pytest.fixture
    def bench(self) -> Bench:
        """A fake ledger, empty."""
        return FakeBench()

    async def test_an_outage_refuses_every_call(self) -> None:
        """While an outage is set nothing is answered and nothing kept; afterwards all works."""
        ledger = FakeLedger()
        ledger.outage = "the server is stopped"
        with pytest.raises(LedgerUnavailable, match="is stopped"):
            await ledger.settle(Batch((failed("t"),)))
        ledger.outage = None
        assert await ledger.find_outcomes([failed("t").key]) == {}
