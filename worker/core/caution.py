"""Which messages may have ended a process, and must be handled with nothing else at stake.

The broker counts how often it has handed out a message in vain. A crash of ours adds one to every
message that we held, the healthy ones too; handled alone, only the one that ends the process goes
on counting, until the broker parks it, and it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DELIVERIES_HEADER: Final = "x-delivery-count"
VAIN_DELIVERIES: Final = 2


def is_suspect(headers: Mapping[str, Any]) -> bool:
    """Whether a message comes for at least the third time.

    Args:
        headers: As delivered; quorum queues count earlier deliveries in `x-delivery-count`.
    """
    deliveries = headers.get(DELIVERIES_HEADER)
    return isinstance(deliveries, int) and deliveries >= VAIN_DELIVERIES
