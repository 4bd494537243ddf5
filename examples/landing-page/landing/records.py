"""What is remembered of a set-up, its answer, an agreement and a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["resolved", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class Customer:
    """Who bought what.

    Attributes:
        agreement_key: The same for all answers about one agreement.
        product_code: AWS's.
        account: The buyer's AWS account, or AWS's older name of the buyer.
    """

    agreement_key: str
    product_code: str
    account: str

    @property
    def ending(self) -> str:
        """The last four characters of the account, enough for its owner to know it by."""
        return self.account[-4:]


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a submission.

    Attributes:
        repeated: Somebody had submitted the same token before, or this form was malformed, which
            proves nothing about who was the first.
        customer: Of a resolved one.
    """

    outcome: Outcome
    repeated: bool
    customer: Customer | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """One token that one browser has brought.

    Attributes:
        number: In its address.
        secret_sha256: Of the secret in the browser's cookie.
        token_sha256: Of the token.
        support_code: What the buyer can read out.
        at: When the browser brought it, in seconds since 1970.
        used_at: When somebody was first signed in by it; None if nobody was.
        answer: What became of it; None as long as that is not known.
    """

    number: int
    secret_sha256: str
    token_sha256: str
    support_code: str
    at: float
    used_at: float | None
    answer: Answered | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is to be provisioned, once.

    Attributes:
        customer: Who bought what. Give `customer.agreement_key` to what you call, as the key by
            which it knows a second call for the same.
        agreement_id: By which AWS's later events name the agreement.
        tries: How often it was tried before.
    """

    customer: Customer
    agreement_id: str | None
    tries: int
