"""Rejects connections beyond loopback that are not encrypted or not verified."""

from collections.abc import Iterator

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
    amqp, postgres, endpoint = settings.amqp, settings.postgres, settings.aws.endpoint_url
    if not _amqp_is_safe(amqp.url.get_secret_value()):
        yield ("amqp", "url"), _AMQP
    if amqp.admin_url != amqp.url and not _amqp_is_safe(amqp.admin_url.get_secret_value()):
        yield ("amqp", "admin_url"), _AMQP
    management = amqp.management_url
    if management is not None and not _endpoint_is_safe(management.get_secret_value()):
        yield ("amqp", "management_url"), _ENDPOINT
    if not _postgres_is_safe(postgres.dsn.get_secret_value()):
        yield ("postgres", "dsn"), _POSTGRES
    admin = postgres.admin_dsn
    if admin != postgres.dsn and not _postgres_is_safe(admin.get_secret_value()):
        yield ("postgres", "admin_dsn"), _POSTGRES
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
    "connects beyond loopback unencrypted or unverified (accepted: amqps:// without no_verify_ssl"
    + _REMEDY
    + ")"
)
_POSTGRES = (
    "connects beyond loopback unencrypted or unverified (accepted: ?sslmode=verify-full, or "
    "verify-ca with an authority of your own in sslrootcert" + _REMEDY + ")"
)
_ENDPOINT = "connects beyond loopback unencrypted (accepted: https://" + _REMEDY + ")"


def _amqp_is_safe(url: str) -> bool:
    return addresses.is_local(addresses.host_of(url)) or addresses.amqp_verifies(url)


def _postgres_is_safe(dsn: str) -> bool:
    local = all(addresses.is_local(host) for host in addresses.postgres_hosts(dsn))
    return local or addresses.postgres_verifies(dsn)


def _endpoint_is_safe(url: str) -> bool:
    return addresses.is_local(addresses.host_of(url)) or url.lower().startswith("https://")
