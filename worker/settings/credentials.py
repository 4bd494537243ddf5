"""The credentials in the settings and in the environment, so that they can be hidden."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from worker.settings.addresses import passwords
from worker.settings.model import Settings

_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_BEARER_TOKEN_MARKETPLACE_METERING",
    "PGPASSWORD",
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def credentials_of(settings: Settings) -> Iterator[str]:
    """Passwords of all addresses, and private keys."""
    amqp, postgres = settings.amqp, settings.postgres
    for each in (amqp.url, amqp.admin_url, amqp.management_url, postgres.dsn, postgres.admin_dsn):
        if each is not None:
            yield from credentials_in(each.get_secret_value())
    for key in settings.dead_letters.open_keys:
        yield key.get_secret_value()


def credentials_in(address: str) -> Iterator[str]:
    """The passwords in an address, as written and percent-decoded.

    One that equals the user's name is no secret, and hiding it would hide that name.
    """
    user, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    # Of an address with unencoded characters in its password, all that may be one.
    found = {password, unquote(password)} | passwords(address)
    yield from found - {"", user, unquote(user)}


def credentials_around(environ: Mapping[str, str]) -> Iterator[str]:
    """What AWS's libraries, the database driver and proxies take from the environment."""
    yield from (environ[name] for name in _VARIABLES if name in environ)
    for name, address in environ.items():
        if name.lower() in _PROXIES:
            yield from credentials_in(address if "://" in address else f"http://{address}")
