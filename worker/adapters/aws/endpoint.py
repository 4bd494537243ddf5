"""Where AWS is called, as whom, and within which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint to call, the identity to use, and the limits.

    Attributes:
        region: Region of the metering endpoint.
        url: An endpoint other than AWS's own, or None.
        role_arn: A role to assume, or None.
        external_id: What the role's trust policy asks for, or None.
        expected_account: The account that the identity must belong to, or None.
        timeout_seconds: Time limit of one whole call.
        concurrency: Maximum number of concurrent calls.
        plain_client: Whether aiobotocore's client makes the calls, as it is.
        fault_of: Returns why an endpoint's URL is refused, or None.
    """

    region: str
    url: str | None
    role_arn: str | None
    expected_account: str | None
    timeout_seconds: float
    concurrency: int
    external_id: str | None = None
    plain_client: bool = False
    fault_of: Callable[[str], str | None] = lambda _: None
