"""Which endpoint is called, and who named it: our own setting, AWS's environment, a profile.

One rule holds for it wherever it was named; whoever opens the client gives it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yarl import URL

from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUR_SETTING: Final = "WORKER_AWS__ENDPOINT_URL"
_ANY_SERVICE: Final = "AWS_ENDPOINT_URL"


class Service(NamedTuple):
    """A service of AWS's, as environment and profiles name it."""

    variable: str
    section: str


METERING: Final = Service("AWS_ENDPOINT_URL_MARKETPLACE_METERING", "marketplace_metering")
STS: Final = Service("AWS_ENDPOINT_URL_STS", "sts")


class RefusedEndpoint(SetupFault):
    """An endpoint that no token may be told. The message says who named it, and what to do."""


class Address(NamedTuple):
    """An endpoint.

    Attributes:
        url: Without a path.
        named_by: Which setting, variable or file names it; for a person.
    """

    url: str
    named_by: str

    @property
    def is_encrypted(self) -> bool:
        """Whether whoever answers has to show a certificate."""
        return self.url.lower().startswith("https://")


def named(session: Any, service: Service) -> Address | None:
    """What AWS's own environment or profile names, in botocore's order; None for AWS's own.

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


def _section(found: Any, name: Any) -> Mapping[str, Any]:
    section = found.get(name) if isinstance(found, dict) else None
    return section if isinstance(section, dict) else {}


def check(address: Address, fault_of: Callable[[str], str | None]) -> None:
    """Accepts an endpoint that a token, or credentials, may be told.

    Args:
        address: The endpoint.
        fault_of: Why a URL is refused, or None.

    Raises:
        RefusedEndpoint: It is.
    """
    if fault := fault_of(address.url):
        raise RefusedEndpoint(f"{address.named_by}: {fault}")


def shown(address: Address) -> str:
    """Its scheme, host and port, which hold no secret."""
    return str(URL(address.url).origin())
