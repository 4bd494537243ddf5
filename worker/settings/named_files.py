"""Rejects addresses that name a file which can't be used."""

from collections.abc import Iterator

from worker.adapters.tls_files import UnusableFile, check_files
from worker.core.addresses import amqp, postgres
from worker.core.addresses.files import Files
from worker.core.addresses.text import take_apart
from worker.settings.leaves import Location
from worker.settings.model import Settings


def faults(settings: Settings) -> Iterator[tuple[tuple[Location, ...], str]]:
    """The addresses with a file that is not there, can't be read, or holds no certificate."""
    for path, files, authority in _named(settings):
        try:
            check_files(files, authority)
        except UnusableFile as error:
            yield (path,), str(error)


def _named(settings: Settings) -> Iterator[tuple[Location, Files, bytes | None]]:
    for path, url in settings.broker_addresses():
        broker = amqp.read(url)
        yield path, broker.files, broker.authority
    for path, dsn in settings.database_addresses():
        yield path, postgres.read(dsn).files, None
    if settings.amqp.management_url is not None:
        words = take_apart(settings.amqp.management_url.get_secret_value(), ("http", "https")).words
        named = tuple((word, path) for word, path in words if path)
        yield ("amqp", "management_url"), Files(authorities=named), None
