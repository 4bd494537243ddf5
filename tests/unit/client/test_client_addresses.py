"""The broker's URL, the caller's name, and where a token comes from."""

from __future__ import annotations

import pytest

from resolution_client import ResolverError, address, blocking, network_of
from resolution_client.hidden import Hidden
from resolution_client.resolver import Resolver


def test_several_hosts() -> None:
    """Each host has a URL of its own, with the same login, virtual host and words."""
    read = address.read(Hidden("amqps://shop:p%2Fw@a,b:5673,[::1]:5674/v?cafile=/ca.pem"))
    assert read.urls == (
        "amqps://shop:p%2Fw@a/v?cafile=/ca.pem",
        "amqps://shop:p%2Fw@b:5673/v?cafile=/ca.pem",
        "amqps://shop:p%2Fw@[::1]:5674/v?cafile=/ca.pem",
    )
    assert read.place == "a:5671,b:5673,[::1]:5674"
    assert read.user == "shop"
    assert "p%2Fw" not in repr(read)


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("amqp://localhost/", "guest"),
        ("amqp://s%40p@localhost", "s@p"),
        ("amqps://localhost?auth=external", None),
    ],
)
def test_who_signs_in(url: str, user: str | None) -> None:
    """The URL's user, guest, or whoever the certificate names."""
    assert address.read(Hidden(url)).user == user


@pytest.mark.parametrize(
    "url", ["", "http://shop:secret@h", "amqp://shop:secret@", "amqp://shop:sec/ret@h:x"]
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    """It is refused when the resolver is made, and the password is not shown."""
    for kind in (Resolver, blocking.Resolver):
        with pytest.raises(ResolverError) as refused:
            kind(url)
        assert "sec" not in str(refused.value)


@pytest.mark.parametrize("caller", ["a.b", "a b", "#", "ü"])
def test_a_name_that_means_something_else(caller: str) -> None:
    """A caller's name is one word of a routing key."""
    with pytest.raises(ResolverError, match="letters, digits"):
        Resolver("amqp://localhost", caller=caller)
    with pytest.raises(ResolverError, match="pass caller="):
        Resolver("amqps://localhost?auth=external")


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL and caller come from the environment; without a URL it says which variable is missing."""
    monkeypatch.setenv("RESOLUTION_AMQP__URL", "amqp://shop:pw@localhost")
    assert Resolver.from_env().caller == "shop"
    monkeypatch.setenv("RESOLUTION_CALLER", "till")
    assert Resolver.from_env().caller == "till"
    monkeypatch.delenv("RESOLUTION_AMQP__URL")
    with pytest.raises(ResolverError, match="RESOLUTION_AMQP__URL"):
        Resolver.from_env()
    with pytest.raises(ResolverError, match="RESOLUTION_AMQP__URL"):
        blocking.Resolver.from_env()


def test_a_network_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of one /24, or /56, have one source; another key gives another."""
    monkeypatch.setenv("RESOLUTION_SOURCE_KEY", "secret")
    assert network_of("192.0.2.1") == network_of("192.0.2.254") == network_of("::ffff:192.0.2.7")
    assert network_of("192.0.2.1") != network_of("192.0.3.1")
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:ff::1")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8:0:100::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.1", key=b"another")
    assert len(network_of("192.0.2.1") or "") == 32
    assert network_of("unknown") is None


def test_all_processes_of_a_shop_share_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key of its own, the login of the broker's URL is the secret that all share."""
    monkeypatch.delenv("RESOLUTION_SOURCE_KEY", raising=False)
    monkeypatch.setenv("RESOLUTION_AMQP__URL", "amqp://shop:pw@localhost")
    first = network_of("192.0.2.1")
    assert first == network_of("192.0.2.1")
    monkeypatch.setenv("RESOLUTION_AMQP__URL", "amqp://shop:other@localhost")
    assert first != network_of("192.0.2.1")
    monkeypatch.delenv("RESOLUTION_AMQP__URL")
    assert network_of("192.0.2.1") == network_of("192.0.2.1") != first
