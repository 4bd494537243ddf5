"""The members of a successful answer, derived from the token so that they never change."""

from __future__ import annotations

import hashlib
from typing import Final

PRODUCT_CODE: Final = "4k7m2v9x1c8r5t3q6w0z8n2jd"
_ISSUER: Final = "294406891311"
_ACCOUNT_DIGITS: Final = 12
_AGREEMENT_CHARACTERS: Final = 25
_IDENTIFIER_CHARACTERS: Final = 11

Members = dict[str, str | dict[str, str]]


def members(token: str, customer: str) -> Members:
    """All members of ResolveCustomer's answer: this customer, and this token's own licence."""
    own = _digest("licence", token)
    return {
        "CustomerIdentifier": _digest("customer", customer)[:_IDENTIFIER_CHARACTERS],
        "ProductCode": PRODUCT_CODE,
        "CustomerAWSAccountId": account_of(customer),
        "LicenseArn": f"arn:aws:license-manager::{_ISSUER}:license:l-{own[:32]}",
        "Metadata": {"AgreementId": f"agmt-{own[-_AGREEMENT_CHARACTERS:]}"},
    }


def account_of(customer: str) -> str:
    """The customer's account: itself if it is 12 digits, else 12 digits derived from it."""
    if len(customer) == _ACCOUNT_DIGITS and customer.isascii() and customer.isdigit():
        return customer
    return f"{int(_digest('account', customer), 16) % 10**_ACCOUNT_DIGITS:012d}"


def _digest(purpose: str, seed: str) -> str:
    # `surrogatepass`: JSON may carry lone surrogates, and each token must have an answer.
    data = seed.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=32, person=purpose.encode()).hexdigest()
