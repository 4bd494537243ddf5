"""What a caller is told: an answer read from a reply, or `Pending`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import quote

from resolution_client.support_code import support_code as code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
DEFAULT_SELLER: Final = "default"


class Unreadable(Exception):
    """A reply is none that this version understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What every outcome has.

    Attributes:
        message_id: Of the submission that it answers.
        token_sha256: Of the token's UTF-8 bytes, in hex; None where no token could be read.
        repeated: The same token was submitted before, by somebody: a reload, another tab, or a
            thief. Bind a session only to an answer that is not repeated.
        metadata: The submission's own, unchanged.
        received_at: When the buyer's browser delivered the token.
        settled_at: When the outcome was stored.
    """

    message_id: str
    token_sha256: str | None
    repeated: bool
    metadata: Mapping[str, Any]
    received_at: datetime
    settled_at: datetime

    @property
    def support_code(self) -> str:
        """What a buyer can read out, and `resolution-worker lookup` takes. No right to anything."""
        return _support_code(self.token_sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(Settled):
    """AWS named the buyer. Members that AWS did not give are None.

    Attributes:
        product_code: Of the product.
        customer_aws_account_id: The buyer's account.
        customer_identifier: AWS's older name of the buyer; None for new products.
        license_arn: Of the agreement's licence.
        agreement_id: Of the agreement.
        offer_type: What the buyer's browser said (`free-trial`); AWS does not vouch for it.
        seller: The seller account that was asked.
    """

    product_code: str
    customer_aws_account_id: str | None
    customer_identifier: str | None
    license_arn: str | None
    agreement_id: str | None
    offer_type: str | None
    seller: str = DEFAULT_SELLER

    @property
    def agreement_key(self) -> str:
        """The key to provision by, equal for every answer about one agreement.

        The licence where AWS named one, else seller, product and customer, each quoted as in a
        URL: `default/prod-1/123456789012`.
        """
        if self.license_arn:
            return self.license_arn
        customer = self.customer_aws_account_id or self.customer_identifier or ""
        return "/".join(quote(part, safe="") for part in (self.seller, self.product_code, customer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Settled):
    """AWS does not take the token: the buyer begins again at AWS Marketplace.

    Attributes:
        status: `rejected` or `expired`.
        error_code: AWS's, or `LifetimeExceeded`.
    """

    status: Literal["rejected", "expired"]
    error_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Settled):
    """Somebody must look: show the buyer the support code and how to reach you.

    Attributes:
        status: `dead` (AWS failed until the attempts were used up; a replay may still resolve it)
            or `malformed`.
        error_code: Why.
    """

    status: Literal["dead", "malformed"]
    error_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Published, and not settled within the time given: the answer comes through `settled`.

    Attributes:
        message_id: Of the submission.
        token_sha256: As in the answer to come.
        reason: `waiting`; `paused` by an operator; or `stopped`: AWS or a dependency fails, or no
            worker is running.
        detail: The worker's own words for that, if there are any.
        rate: Calls a second that all workers together may make; None if none was heard of.
        waiting: How many tokens wait; likewise.
        oldest_seconds: The age of the oldest that a worker has taken; likewise.
    """

    message_id: str
    token_sha256: str
    reason: Literal["waiting", "paused", "stopped"]
    detail: str | None = None
    rate: float | None = None
    waiting: int | None = None
    oldest_seconds: float | None = None

    @property
    def support_code(self) -> str:
        """As of an answer."""
        return _support_code(self.token_sha256)


Outcome: TypeAlias = Resolved | Rejected | Failed
Answer: TypeAlias = Outcome | Pending


def _support_code(token_sha256: str | None) -> str:
    return code_of(bytes.fromhex(token_sha256 or "") or bytes(32))


def read(body: bytes) -> Outcome:
    """Read a reply or an event.

    Raises:
        Unreadable: It is no outcome, or of a version that is not understood.
    """
    try:
        members = json.loads(body)
        return _outcome(members)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{type(error).__name__} while it was read"
    raise Unreadable(fault)


def _outcome(members: Mapping[str, Any]) -> Outcome:
    if members["version"] != VERSION:
        raise ValueError
    common: dict[str, Any] = {
        "message_id": str(members["message_id"]),
        "token_sha256": _text(members["token_sha256"]),
        "repeated": members["repeated"] is True,
        "metadata": dict(members["metadata"].items()),
        "received_at": datetime.fromisoformat(members["received_at"]),
        "settled_at": datetime.fromisoformat(members["settled_at"]),
    }
    bytes.fromhex(common["token_sha256"] or "")
    match members["status"]:
        case "resolved":
            said: dict[str, Any] = {name: _text(members[name]) for name in _RESOLVED}
            product = str(members["product_code"])
            return Resolved(**common, product_code=product, **said)
        case "rejected" | "expired" as status:
            return Rejected(**common, status=status, error_code=str(members["error"]["code"]))
        case "dead" | "malformed" as status:
            return Failed(**common, status=status, error_code=str(members["error"]["code"]))
        case _:
            raise ValueError


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError


_RESOLVED: Final = (
    "customer_aws_account_id",
    "customer_identifier",
    "license_arn",
    "agreement_id",
    "offer_type",
)
