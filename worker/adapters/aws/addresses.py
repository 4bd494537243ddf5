"""Which endpoint is called, and what names it: our setting, AWS's environment, or a profile.

The same rule applies to it, wherever it is named; the caller that opens the client supplies it.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yarl import URL

from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUR_SETTING: Final = "WORKER_AWS__ENDPOINT_URL"
REGION_SETTING: Final = "WORKER_AWS__REGION"
_ANY_SERVICE: Final = "AWS_ENDPOINT_URL"


class Service(NamedTuple):
    """An AWS service, by its names in the environment and in profiles."""

    variable: str
    section: str


METERING: Final = Service("AWS_ENDPOINT_URL_MARKETPLACE_METERING", "marketplace_metering")
STS: Final = Service("AWS_ENDPOINT_URL_STS", "sts")


class RefusedEndpoint(SetupFault):
    """An endpoint that must not be sent tokens. The message says what names it and what to do."""


class Address(NamedTuple):
    """An endpoint.

    Attributes:
        url: Without a path.
        named_by: The setting, variable or file that names it, for messages.
        doubt: Why it is probably wrong, or None.
    """

    url: str
    named_by: str
    doubt: str | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether the endpoint uses TLS, so that the server must show a certificate."""
        return self.url.lower().startswith("https://")


def named(session: Any, service: Service) -> Address | None:
    """The endpoint that AWS's environment or profile names, in botocore's order, or None.

    See https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html.
    """
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    for variable in (service.variable, _ANY_SERVICE):
        if url := os.environ.get(variable):
            return Address(url, variable)
    profile = session.get_scoped_config()
    services = _section(session.full_config.get("services"), profile.get("services"))
    url = _section(services, service.section).get("endpoint_url") or profile.get("endpoint_url")
    return Address(str(url), "endpoint_url of the AWS profile") if url else None


async def own(session: Any, url: str, region: str) -> Address:
    """AWS's own endpoint in a region."""
    regions = [
        name
        for partition in session.get_available_partitions()
        for name in await session.get_available_regions("meteringmarketplace", partition)
    ]
    named_by = f"{REGION_SETTING} ({region})"
    if region in regions:
        return Address(url, named_by)
    similar = get_close_matches(region, regions, n=2)
    meant = f"; did you mean {' or '.join(similar)}?" if similar else ""
    doubt = f"{REGION_SETTING}: the AWS SDK knows no region {region} with this service{meant}"
    return Address(url, named_by, doubt)


def _section(found: Any, name: Any) -> Mapping[str, Any]:
    section = found.get(name) if isinstance(found, dict) else None
    return section if isinstance(section, dict) else {}


def check(address: Address, fault_of: Callable[[str], str | None]) -> None:
    """Check that tokens or credentials may be sent to an endpoint.

    Args:
        address: The endpoint.
        fault_of: Returns why a URL is refused, or None.

    Raises:
        RefusedEndpoint: It is refused.
    """
    if fault := fault_of(address.url):
        raise RefusedEndpoint(f"{address.named_by}: {fault}")


def shown(address: Address) -> str:
    """The endpoint's scheme, host and port, which contain no secret."""
    return str(URL(address.url).origin())
