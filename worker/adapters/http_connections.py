"""Connections to the port of probes and metrics: so many at once, and none for ever.

Whoever reaches the port can open connections and leave them as they are, before the end of a
request or of its answer. Each takes a file descriptor, and a process without descriptors reaches
neither AWS nor broker nor database.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_MOST: Final = 32
_SECONDS: Final = 10.0  # from its start or its last request; so long a reader may take
_PAUSE_SECONDS: Final = 0.1


class Connections:
    """Those that are open. For a new one there is always room: the longest unused gives way.

    One that has sent its request at once, as probes do, is answered long before: connections are
    accepted one by one, and what has come over those that are open is read in between.
    """

    def __init__(self) -> None:
        self._ends: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # the longest unused first

    async def accept(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]
    ) -> NoReturn:
        """Take connections until cancelled.

        Args:
            listener: Listens, without blocking.
            protocol: Makes what serves a new connection.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError:
                # No file descriptor is left: others of this process took them.
                self._make_room(max(0, len(self._ends) - 1))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._make_room(_MOST - 1)
            try:
                transport, _ = await loop.connect_accepted_socket(protocol, accepted)
            except OSError:
                accepted.close()
            else:
                self._last(transport)

    def used(self, transport: asyncio.Transport | None) -> None:
        """A whole request has come: it is the last to give way, and its time begins anew."""
        if transport is not None and transport in self._ends:
            self._ends.pop(transport).cancel()
            self._last(transport)

    def close(self) -> None:
        """Cut off all that are open."""
        self._make_room(0)

    def _last(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self._ends[transport] = loop.call_later(_SECONDS, self._cut, transport)

    def _make_room(self, left: int) -> None:
        """Cut off those longest unused until so many are left; what has ended goes first."""
        while len(self._ends) > left:
            ended = (transport for transport in self._ends if transport.is_closing())
            self._cut(next(ended, next(iter(self._ends))))

    def _cut(self, transport: asyncio.Transport) -> None:
        """Close without delay; one that is closing may still wait for a reader that never comes."""
        self._ends.pop(transport).cancel()
        transport.abort()
