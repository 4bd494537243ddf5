"""Addresses: whatever is written there is read as it is meant, or refused without being shown."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.addresses import amqp, postgres
from worker.core.addresses.host_names import check_host_name
from worker.core.encodings import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: list[tuple[str, Callable[[str], amqp.BrokerAddress | postgres.DatabaseAddress]]] = [
    ("amqps", amqp.read),
    ("postgresql", postgres.read),
]
READ = pytest.mark.parametrize(("scheme", "read"), READERS)
ODD = st.text("@/?#:%&=,[]+ ab1ü\n", max_size=12)


@READ
@given(rest=ODD | st.text(max_size=12))
def test_any_text_is_read_or_refused(scheme: str, read: Callable[[str], object], rest: str) -> None:
    """Nothing but ValueError comes of it."""
    for address in (rest, f"{scheme}://{rest}", f"{scheme}://h/?{rest}"):
        try:
            read(address)
        except ValueError:
            continue


@READ
@given(password=ODD)
def test_an_unencoded_password_is_meant_or_refused(
    scheme: str,
    read: Callable[[str], amqp.BrokerAddress | postgres.DatabaseAddress],
    password: str,
) -> None:
    """No piece of a password is ever taken for a host, a path or a word, nor told."""
    try:
        found, fault = read(f"{scheme}://u:h7n{password}t7r@h.example/v"), ""
    except ValueError as error:
        found, fault = None, str(error)
    assert "h7n" not in fault
    assert "t7r" not in fault
    if found is not None:
        assert found.place.startswith("h.example:")
        assert found.user == "u"
        assert found.password is not None
        assert found.password.startswith("h7n")
        assert found.password.endswith("t7r")


@READ
@given(user=ODD.filter(bool), password=ODD, path=ODD.filter(bool))
def test_what_is_encoded_is_read_as_it_was(
    scheme: str,
    read: Callable[[str], amqp.BrokerAddress | postgres.DatabaseAddress],
    user: str,
    password: str,
    path: str,
) -> None:
    """Percent-encoding carries any user, password, virtual host and database."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    found = read(f"{scheme}://{login}@[::1],h.example:7/{quote(path, safe='')}")
    assert (found.user, found.password) == (user, password)
    assert path == (found.vhost if isinstance(found, amqp.BrokerAddress) else found.database)
    assert [str(host) for host in found.hosts][1] == "h.example:7"


@pytest.mark.parametrize("host", ["127.1", "2130706433", "127.0.0.01", "1.2.3", "0.0.0.0"])  # noqa: S104
def test_short_forms_of_addresses_are_hosts(host: str) -> None:
    """What resolvers take for an address is one."""
    check_host_name(host)


@pytest.mark.parametrize(
    "host", ["256.1", "1.2.3.4.5", "1..2", "127.0.0.256", "4294967296", "09.1"]
)
def test_numbers_that_are_no_address_are_no_host(host: str) -> None:
    """No name service would be asked for them in earnest."""
    with pytest.raises(ValueError, match="names a host"):
        check_host_name(host)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_file_is_read_with_or_without_a_mark(text: str) -> None:
    """UTF-8 with a byte order mark is the same text; what is ASCII in UTF-16 is told."""
    assert decoded(text.encode("utf-8-sig")) == text
    if text[0] != "\ufeff":
        assert decoded(text.encode()) == text
    if text.isascii():
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            with pytest.raises(ValueError, match="it is UTF-16"):
                decoded(text.encode(encoding))
