"""What becomes of each kind of token, in reply, event and database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.installation import ATTEMPTS
from tests.acceptance.outcomes import (
    CALLED_FOR,
    CONTACT,
    OUTCOME,
    RESTART,
    asked,
    buyers,
    fresh,
    instant,
    row,
    sha256,
)
from worker.lab.simulator.agreement import members

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier


@pytest.mark.parametrize(
    ("kind", "status", "code", "advice", "attempts"),
    [
        ("ok", "resolved", None, None, 1),
        ("new", "resolved", None, None, 1),
        ("old", "resolved", None, None, 1),
        ("same-442211009988", "resolved", None, None, 1),
        ("slow-200", "resolved", None, None, 1),
        ("seller-simulator", "resolved", None, None, 1),
        ("throttle-5", "resolved", None, None, 1),
        (f"fail-{ATTEMPTS - 1}", "resolved", None, None, ATTEMPTS),
        ("invalid", "rejected", "InvalidTokenException", RESTART, 1),
        ("seller-other", "rejected", "InvalidTokenException", RESTART, 1),
        ("anything", "rejected", "InvalidTokenException", RESTART, 1),
        ("expired", "expired", "ExpiredTokenException", RESTART, 1),
        (f"fail-{ATTEMPTS}", "dead", "InternalServiceErrorException", CONTACT, ATTEMPTS),
        ("garbage", "dead", "UnusableAnswer", CONTACT, ATTEMPTS),
        ("empty", "dead", "UnusableAnswer", CONTACT, ATTEMPTS),
        ("hang", "dead", "Timeout", CONTACT, ATTEMPTS),
        ("denied", "dead", "AccessDeniedException", CONTACT, 0),
    ],
)
async def test_each_kind_of_token_has_its_outcome(  # noqa: PLR0917 - a row of the table
    shop: WebTier,
    shared_stage: Installation,
    kind: str,
    status: str,
    code: str | None,
    advice: str | None,
    attempts: int,
) -> None:
    """Reply, event and row agree on what the token's kind demands, member by member."""
    token = fresh(kind)
    before = datetime.now(UTC) - timedelta(milliseconds=1)

    async with buyers(shop):  # what is one token's fault shows where others succeed meanwhile
        event, reply = await asked(shop, token, metadata={"session": "s"})
    stands = await row(shared_stage, token)

    told = event.body
    assert reply.body == told
    assert set(told) == OUTCOME
    assert event.routing_key == f"token.{status}"
    assert event.content_type == reply.content_type == "application/json"
    assert (told["version"], told["status"], told["repeated"]) == (1, status, False)
    assert told["token_sha256"] == sha256(token).hex()
    assert (told["error"] or {"code": None})["code"] == code
    assert told["advice"] == advice
    assert told["metadata"] == {"session": "s"}
    assert before <= instant(told["received_at"]) <= instant(told["settled_at"])
    assert instant(told["settled_at"]) <= datetime.now(UTC)
    assert (stands["status"], stands["error_code"], stands["advice"]) == (status, code, advice)
    assert stands["attempts"] == attempts
    assert (stands["message_id"], stands["seller"]) == (told["message_id"], "default")
    assert [stands[name] for name in CALLED_FOR] == [told[name] for name in CALLED_FOR]
    if status != "resolved":
        assert not any(told[name] for name in CALLED_FOR)


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        ("ok", ()),
        ("new", ("CustomerIdentifier",)),
        ("old", ("LicenseArn", "Metadata")),
        ("same-778899001122", ()),
    ],
)
async def test_a_resolved_token_says_what_aws_said(
    shop: WebTier, shared_stage: Installation, kind: str, absent: tuple[str, ...]
) -> None:
    """Each member of AWS's answer reaches outcome and agreement, and an absent one is null."""
    token = fresh(kind)
    customer = kind.partition("-")[2] or token
    said = {name: it for name, it in members(token, customer).items() if name not in absent}
    metadata = said.pop("Metadata", {})
    assert isinstance(metadata, dict)
    expected = {
        "product_code": said["ProductCode"],
        "customer_aws_account_id": said["CustomerAWSAccountId"],
        "customer_identifier": said.get("CustomerIdentifier"),
        "license_arn": said.get("LicenseArn"),
        "agreement_id": metadata.get("AgreementId"),
        "offer_type": "free-trial",
    }

    told = (await shop.settled(token, offer_type="free-trial", seller="default")).body
    agreements = await shared_stage.schema.rows(
        "SELECT * FROM resolution.agreements WHERE license_arn = $1 OR (license_arn IS NULL AND"
        " customer_aws_account_id = $2)",
        expected["license_arn"],
        expected["customer_aws_account_id"],
    )

    assert {name: told[name] for name in expected} == expected
    (agreement,) = agreements
    assert {name: agreement[name] for name in expected} == expected
    assert agreement["seller"] == "default"
    assert agreement["first_resolved_at"] == agreement["last_resolved_at"]
