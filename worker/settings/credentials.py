"""The credentials in the settings, so that they can be hidden."""

from collections.abc import Iterator

from worker.core.addresses.passwords import credentials_in
from worker.settings.model import Settings


def credentials_of(settings: Settings) -> Iterator[str]:
    """Passwords of all addresses, and private keys."""
    amqp, postgres = settings.amqp, settings.postgres
    for each in (amqp.url, amqp.admin_url, amqp.management_url, postgres.dsn, postgres.admin_dsn):
        if each is not None:
            yield from credentials_in(each.get_secret_value())
    for key in settings.dead_letters.open_keys:
        yield key.get_secret_value()
