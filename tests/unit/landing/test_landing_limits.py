"""How much one network may ask."""

from __future__ import annotations

import pytest

from landing.limits import Buckets, Streams


def test_a_burst_and_then_one_a_second() -> None:
    """Twenty at once, then one each second; who waits as long as told is let in."""
    buckets = Buckets()
    assert [buckets.seconds_to_wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    wait = buckets.seconds_to_wait("a", 0.0)
    assert wait == pytest.approx(1.0)
    assert buckets.seconds_to_wait("a", 0.5) == pytest.approx(0.5)
    assert buckets.seconds_to_wait("a", wait) == 0
    assert buckets.seconds_to_wait("a", wait) > 0
    assert [buckets.seconds_to_wait("a", 1000.0) for _ in range(21)].count(0.0) == 20


def test_networks_do_not_share() -> None:
    """A flood from one network costs another nothing."""
    buckets = Buckets()
    refused = [buckets.seconds_to_wait("flood", n / 1000) for n in range(1000)]
    assert sum(wait > 0 for wait in refused) >= 979
    assert buckets.seconds_to_wait("buyer", 1.0) == 0


def test_the_table_is_bounded() -> None:
    """Beyond its bound the network that was quiet for longest is forgotten, and no other."""
    buckets = Buckets(burst=1, most=2)
    assert [buckets.seconds_to_wait(name, 0.0) for name in "aba"] == [0, 0, 1]
    assert buckets.seconds_to_wait("c", 0.0) == 0  # b is forgotten
    assert buckets.seconds_to_wait("a", 0.0) == 1
    assert len(buckets._left) == 2


def test_streams() -> None:
    """Streams are counted, of all and of each network, until they end."""
    streams = Streams(most=3, most_of_a_network=2)
    with streams.one("a"), streams.one("a"):
        assert streams.full("a")
        assert not streams.full("b")
        with streams.one("b"):
            assert streams.full("c")
    assert not streams.full("a")
    assert not streams._open
