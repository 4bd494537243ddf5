"""Rejects connections beyond loopback that are not encrypted or not verified."""

from collections.abc import Iterator

from worker.core.addresses import amqp, postgres
from worker.settings import addresses
from worker.settings.leaves import Location
from worker.settings.model import Settings

_REMEDY = "; where the network itself is trusted, set WORKER_ALLOW_PLAINTEXT=true"


def faults(settings: Settings) -> Iterator[tuple[tuple[Location, ...], str]]:
    """The settings that connect beyond loopback unencrypted or unverified, with what to do.

    Each is reported together with `allow_plaintext`: either of the two may be wrong.
    """
    if not settings.allow_plaintext:
        for path, what in _open(settings):
            yield (path, ("allow_plaintext",)), what


def _open(settings: Settings) -> Iterator[tuple[Location, str]]:
    for path, url in settings.broker_addresses():
        if not amqp.read(url).is_safe:
            yield path, _AMQP
    for path, dsn in settings.database_addresses():
        if not postgres.read(dsn).is_safe:
            yield path, _POSTGRES
    management, endpoint = settings.amqp.management_url, settings.aws.endpoint_url
    if management is not None and not _endpoint_is_safe(management.get_secret_value()):
        yield ("amqp", "management_url"), _ENDPOINT
    if endpoint is not None and not _endpoint_is_safe(endpoint):
        yield ("aws", "endpoint_url"), _ENDPOINT


def endpoint_fault(url: str, *, allow_plaintext: bool) -> str | None:
    """Why tokens must not be sent to an endpoint, whatever its source; None if they may.

    An endpoint beyond loopback must be encrypted, unless the operator trusts the network. It must
    have no path, because requests are signed without one.
    """
    try:
        addresses.check_http(url)
    except ValueError as error:
        return str(error)
    return None if allow_plaintext or _endpoint_is_safe(url) else _ENDPOINT


_AMQP = (
    "connects beyond loopback unencrypted or unverified (accepted: amqps:// without no_verify_ssl "
    "or verify=verify_none" + _REMEDY + ")"
)
_POSTGRES = (
    "connects beyond loopback unencrypted or unverified (accepted: ?sslmode=verify-full, or "
    "verify-ca with an authority of your own in sslrootcert" + _REMEDY + ")"
)
_ENDPOINT = "connects beyond loopback unencrypted (accepted: https://" + _REMEDY + ")"


def _endpoint_is_safe(url: str) -> bool:
    return addresses.is_local(addresses.host_of(url)) or url.lower().startswith("https://")
