"""What the runtime needs of the outside, each Protocol as narrow as one caller's need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.core.records import Answer, Batch, Fault, Outcome, Token, TokenKey


class LedgerUnavailable(Exception):  # noqa: N818 - it is a state of the world, not a bug
    """The database can't do its work now: nothing is wrong with the rows. Keep them, try again."""


class RowsRefused(Exception):  # noqa: N818 - named for what happened
    """The database refused a batch for its data (SQLSTATE class 22 or 23): a row is poison."""


class Ledger(Protocol):
    """The record of what became of each token."""

    async def recall(self, keys: Sequence[TokenKey]) -> Mapping[TokenKey, Outcome]:
        """What is settled of these tokens; those not settled are absent.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        ...

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit a batch and return what stands for each of its tokens afterwards.

        A resolved token is never overwritten, so what stands may differ from what was given.
        Idempotent: a batch whose fate is unknown may be given again.

        Raises:
            LedgerUnavailable: Nothing, or an unknown part of nothing-but-this-batch, was written.
            RowsRefused: Nothing was written; at least one row can never be.
        """
        ...


class Marketplace(Protocol):
    """AWS's ResolveCustomer."""

    async def resolve(self, token: Token) -> Answer | Fault:
        """Spend one call on a token. Never raises for what AWS or the network does."""
        ...

    async def probe(self) -> Fault | None:
        """Spend one call on no token at all: None when AWS accepts our identity again."""
        ...
