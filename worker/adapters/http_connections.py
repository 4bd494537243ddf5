"""Limits the connections to the port of probes and metrics, in number and in time.

Any client that reaches the port can open connections and leave them open, before the end of a
request or of its answer. Each takes a file descriptor, and a process without free descriptors
reaches neither AWS nor broker nor database.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_MOST: Final = 32
_SECONDS: Final = 10.0  # from the start or the last request; so a slow reader has this long
_PAUSE_SECONDS: Final = 0.1


class Connections:
    """The open connections. A new one is always accepted, if need be by cutting an old one.

    The least recently used one is cut. A client that sends its request at once, as probes do, is
    answered long before that: connections are accepted one by one, and the requests on open ones
    are read in between.
    """

    def __init__(self) -> None:
        self._ends: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # least recently used first

    async def accept(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]
    ) -> NoReturn:
        """Accept connections until cancelled.

        Args:
            listener: A listening socket, in non-blocking mode.
            protocol: Creates the protocol that serves a new connection.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError:
                # No file descriptor is left: other parts of this process took them.
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
        """Note a complete request on a connection: it becomes the most recently used."""
        if transport is not None and transport in self._ends:
            self._ends.pop(transport).cancel()
            self._last(transport)

    def close(self) -> None:
        """Cut all open connections."""
        self._make_room(0)

    def _last(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self._ends[transport] = loop.call_later(_SECONDS, self._cut, transport)

    def _make_room(self, left: int) -> None:
        """Cut connections until `left` remain: closing ones first, then the least recently used."""
        while len(self._ends) > left:
            ended = (transport for transport in self._ends if transport.is_closing())
            self._cut(next(ended, next(iter(self._ends))))

    def _cut(self, transport: asyncio.Transport) -> None:
        """Abort a connection; a graceful close could wait for a client that never reads."""
        self._ends.pop(transport).cancel()
        transport.abort()
