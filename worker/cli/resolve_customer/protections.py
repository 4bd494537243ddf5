"""Refuses, as the worker does, to send a token over a connection that others could read."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from worker.cli.resolve_customer.faults import CommandFault, ConfigurationFault
from worker.cli.resolve_customer.worker_settings import all_settings

if TYPE_CHECKING:
    from worker.cli.resolve_customer.options import Options

# The endpoint rules of the service, and the names of interface endpoints in a VPC.
_AWS_HOST: Final = re.compile(
    r"(vpce-[a-z0-9-]+\.)?metering[.-]marketplace(-fips)?\.[a-z]{2,4}(-[a-z]+)+-\d+(\.vpce)?\."
    r"(amazonaws\.(com|com\.cn|eu)|api\.aws|api\.amazonwebservices\.(com\.cn|eu)|c2s\.ic\.gov|"
    r"sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov|api\.aws\.ic\.gov|api\.aws\.scloud|"
    r"api\.cloud-aws\.adc-e\.uk|api\.aws\.hci\.ic\.gov)"
)


def check(endpoint_url: str, options: Options, ca_bundle: str | None) -> None:
    """Refuse an endpoint that must not be sent a token.

    Raises:
        ConfigurationFault: It is beyond loopback, unencrypted or unverified, and not allowed.
        CommandFault: The CA bundle can't be read.
    """
    encrypted = endpoint_url.lower().startswith("https://")
    if encrypted and ca_bundle is not None:
        _check_bundle(endpoint_url, ca_bundle)
    if (encrypted and options.verify_ssl) or is_local(endpoint_url):
        return
    if all_settings().allow_plaintext:
        return
    fault = "unverified" if encrypted else "unencrypted"
    raise ConfigurationFault(
        f'The endpoint URL "{endpoint_url}" connects beyond loopback {fault}, and a token is a '
        "secret: use https:// and verify the certificate (--ca-bundle sets another authority); "
        "where the network itself is trusted, set WORKER_ALLOW_PLAINTEXT=true."
    )


def _check_bundle(endpoint_url: str, path: str) -> None:
    """Report an unreadable file by its name, which the system's own message omits."""
    import ssl  # noqa: PLC0415 - start-up

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise CommandFault(
            f"SSL validation failed for {endpoint_url}: the CA bundle {path} can't be used: {error}"
        ) from None


def is_local(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_aws(url: str) -> bool:
    """Whether a URL is one of the metering service's own endpoints, over TLS."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    default_port = parts.port in {None, 443}
    return parts.scheme == "https" and default_port and _AWS_HOST.fullmatch(host) is not None
