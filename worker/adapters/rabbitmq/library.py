"""All that is used of aiormq and pamqp beyond their public interface, in one place.

Checked against the versions in `CHECKED`: `test_rabbitmq_library.py` fails where another one is
installed or a name is gone, and the bounds in `pyproject.toml` keep others out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel, Returning
from aiormq.connection import Connection
from pamqp import decode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from pamqp import commands

CHECKED: Final = {"aiormq": "7.2", "pamqp": "4.0"}

BLOCKED: Final = "_Connection__handle_connection_blocked"
UNBLOCKED: Final = "_Connection__handle_connection_unblocked"
CHANNEL_ATTRIBUTES: Final = (
    "confirmations",
    "delivery_tag",
    "max_content_size",
    "message_id_delivery_tag",
    "number",
    "write_queue",
)

# As they come with the library, whatever is done to its table afterwards.
decode_timestamp: Final = decode.timestamp
decode_table: Final = decode.field_table


class ConfirmChannel:
    """An aiormq channel in confirm mode, whose frames are written and counted here.

    Attributes:
        number: Of the channel on its connection.
        max_content_size: Most bytes of body in one frame.
        closing: Done once the channel is closed, with the reason.
    """

    def __init__(self, channel: object) -> None:
        assert isinstance(channel, Channel)
        self._channel = channel
        self.number: Final[int] = channel.number
        self.max_content_size: Final[int] = channel.max_content_size
        self.closing: Final[asyncio.Future[Any]] = channel.closing

    @property
    def connection(self) -> Connection:
        """The connection that it belongs to."""
        assert isinstance(self._channel.connection, Connection)
        return self._channel.connection

    @property
    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._channel.is_closed

    async def write(self, frames: bytes) -> None:
        """Put frames into the connection's write queue."""
        await write(self._channel, frames)

    def count(self, confirmation: asyncio.Future[Any]) -> int:
        """Give the message whose frames were just written its number, and await its confirmation.

        The broker counts the messages of a channel in the order in which they arrive: nothing may
        suspend between `write` and this.
        """
        self._channel.delivery_tag += 1
        self._channel.confirmations[self._channel.delivery_tag] = confirmation
        return self._channel.delivery_tag

    def expect_return(self, message_id: str, number: int) -> None:
        """A mandatory message is in flight: one with this id that comes back is this one."""
        self._channel.message_id_delivery_tag[message_id] = number

    def forget_return(self, message_id: str, number: int) -> None:
        """Undo `expect_return`, unless the id was given to another message since."""
        if self._channel.message_id_delivery_tag.get(message_id) == number:
            del self._channel.message_id_delivery_tag[message_id]

    def unconfirmed(self) -> list[asyncio.Future[Any]]:
        """Confirmations that have not come."""
        return [
            confirmation
            for confirmation in self._channel.confirmations.values()
            if not (confirmation.done() or isinstance(confirmation, Returning))
        ]


async def write(channel: object, frames: bytes) -> None:
    """Put frames into the write queue of a channel's connection."""
    assert isinstance(channel, Channel)
    await channel.write_queue.put(ChannelFrame(frames, should_close=False))


def watch_blocked(
    connection: Connection, blocked: Callable[[str], None], unblocked: Callable[[], None]
) -> None:
    """Call `blocked` with the broker's reason when it holds publishers back, `unblocked` after it.

    aiormq keeps what it is told to itself, so its two handlers are wrapped.

    Args:
        connection: One that is open, and over which nothing was published yet.
        blocked: Must not raise, like `unblocked`: both run in the connection's reader.
        unblocked: As above.
    """
    on_blocked, on_unblocked = (getattr(connection, name, None) for name in (BLOCKED, UNBLOCKED))
    if on_blocked is None or on_unblocked is None:
        return  # an unchecked version of the library: an alarm is silence, and nothing worse

    async def handle_blocked(frame: commands.Connection.Blocked) -> None:
        await on_blocked(frame)
        blocked(str(frame.reason))

    async def handle_unblocked(frame: Any) -> None:
        await on_unblocked(frame)
        unblocked()

    setattr(connection, BLOCKED, handle_blocked)
    setattr(connection, UNBLOCKED, handle_unblocked)


def replace_decoders(decoders: Mapping[str, Callable[[bytes], tuple[int, Any]]]) -> None:
    """Let the codec read properties of these AMQP types so, in this whole process."""
    decode.METHODS.update(decoders)
