"""Which endpoint is called, and what names it: our setting, AWS's environment, or a profile.

The same rule applies to it, wherever it is named; the caller that opens the client supplies it.
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
    """

    url: str
    named_by: str

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
