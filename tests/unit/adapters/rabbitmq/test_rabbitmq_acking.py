"""Acks as frames: read back by the library's codec, they ack what is meant and nothing else."""

from __future__ import annotations

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from worker.adapters.rabbitmq.acking import acks


def read(frames: bytes, channel: int) -> list[tuple[int, bool]]:
    """Tags and whether each means all before it, too."""
    found = []
    while frames:
        size, number, frame = pamqp.frame.unmarshal(frames)
        assert number == channel
        assert isinstance(frame, commands.Basic.Ack)
        found.append((frame.delivery_tag or 0, bool(frame.multiple)))
        frames = frames[size:]
    return found


def settled(told: list[tuple[int, bool]], unacked: set[int]) -> set[int]:
    """What a broker takes for acked; a tag that is not unacked would close the channel."""
    left = set(unacked)
    for tag, many in told:
        assert tag in left
        left -= {each for each in left if each <= tag} if many else {tag}
    return unacked - left


@given(st.sets(st.integers(1, 60), min_size=1), st.sets(st.integers(1, 60)), st.integers(1, 65535))
def test_what_is_acked_is_what_is_meant(tags: set[int], others: set[int], channel: int) -> None:
    """Whatever stays unacked, exactly the given ones are acked, in one frame where that can be."""
    staying = others - tags
    told = read(acks(tags, min(staying, default=None), channel), channel)
    assert settled(told, tags | staying) == tags
    assert sum(many for _, many in told) <= 1
    if not staying or min(staying) > max(tags):
        assert len(told) == 1


@pytest.mark.parametrize("tag", [1, 2**32, 2**63 - 1])
def test_a_large_tag_is_carried(tag: int) -> None:
    """Any tag is carried whole."""
    assert read(acks([tag], None, 1), 1) == [(tag, False)]
