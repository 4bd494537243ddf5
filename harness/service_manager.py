"""A socket in systemd's place, and what a service tells it."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ListeningManager:
    """What systemd has heard so far.

    Attributes:
        address: What belongs into `NOTIFY_SOCKET`.
    """

    def __init__(self, address: str, listening: socket.socket) -> None:
        self.address = address
        self._socket = listening
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """All lines, in their order."""
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return self._heard
            self._heard += datagram.decode().split("\n")

    def count(self, line: str) -> int:
        """How often it has heard this line."""
        return self.heard.count(line)

    @property
    def status(self) -> str:
        """The last sentence about the service's state; empty without one."""
        said = [line for line in self.heard if line.startswith("STATUS=")]
        return said[-1].removeprefix("STATUS=") if said else ""


@contextmanager
def listening_manager(folder: Path | None = None) -> Iterator[ListeningManager]:
    """A socket in this folder, or an abstract one without a folder, until the block ends."""
    name = f"notify-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    address = f"@{name}" if folder is None else str(folder / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}" if folder is None else address)
        listening.setblocking(False)
        yield ListeningManager(address, listening)
