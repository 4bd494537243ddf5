"""What is yours: replace it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from landing.records import Agreement

log: Final = logging.getLogger(__name__)

NAME: Final = "Example Shop"
CONTACT: Final = "support@shop.example"
PRODUCTS: Final = {"4k7m2v9x1c8r5t3q6w0z8n2jd": "Example Cloud"}
"""What your customers call your products, by AWS's product codes; here the simulator's."""


def product_name(code: str) -> str:
    """What a customer calls a product."""
    return PRODUCTS.get(code, code)


async def provision(agreement: Agreement) -> None:
    """Make room for a new customer: called once for each agreement.

    If it raises, or takes longer than 45 seconds, it is called again later; also if the process
    ends meanwhile. So pass `agreement.customer.agreement_key` on to what you call, as the key by
    which it knows a second call for the same.

    It runs in the event loop of the pages: give what blocks to `asyncio.to_thread`.
    """
    log.info("provisioned: product %s", agreement.customer.product_code)
