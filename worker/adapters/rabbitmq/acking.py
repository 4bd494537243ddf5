"""Acks as frames, one for many deliveries where their tags allow it.

A frame of its own for each costs the library a lock, a queue and a system call, and a quorum queue
a command in its log.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# AMQP 0-9-1, 2.3.5 and 1.8.3.13: type, channel, size, class, method, tag, multiple, end.
_FRAME: Final = struct.Struct(">BHLHHQBB")
_METHOD_FRAME: Final = 1
_SIZE: Final = 13
_BASIC_ACK: Final = (60, 80)
_END: Final = 0xCE


def acks(tags: Iterable[int], outstanding: int | None, channel: int) -> bytes:
    """The frames that ack deliveries of one channel.

    Args:
        tags: Of the deliveries to be acked.
        outstanding: The least tag of those that were delivered before and stay unacked; None if
            there are none.
        channel: Number of the channel.
    """
    ordered = sorted(tags)
    together = [tag for tag in ordered if outstanding is None or tag < outstanding]
    frames = [_frame(tag, channel, multiple=False) for tag in ordered[len(together) :]]
    if together:
        frames.insert(0, _frame(together[-1], channel, multiple=len(together) > 1))
    return b"".join(frames)


def _frame(tag: int, channel: int, *, multiple: bool) -> bytes:
    return _FRAME.pack(_METHOD_FRAME, channel, _SIZE, *_BASIC_ACK, tag, multiple, _END)
