"""Tells systemd how this process is, over the socket that it names in `NOTIFY_SOCKET`.

The protocol is that of sd_notify(3): a datagram of `NAME=value` lines. Without the variable nothing
is told to anybody.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_log: Final = structlog.get_logger()

_MICROSECONDS: Final = 1_000_000


class ServiceManager:
    """The service manager that started this process, if one did.

    Args:
        address: A path, or `@name` for an abstract socket; None if nobody listens.
        watchdog_seconds: How long it bears silence; None for ever.
    """

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self._socket = None if address is None else _datagram_socket()
        self._unreached = False
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def of(cls, environment: MutableMapping[str, str] = os.environ) -> ServiceManager:
        """Take what the environment says, out of it: programs that we start are not the service."""
        address = environment.pop("NOTIFY_SOCKET", None) or None
        microseconds = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in {"", str(os.getpid())}
        if address is None or not watched or not microseconds.isdecimal():
            return cls(address)
        return cls(address, int(microseconds) / _MICROSECONDS or None)

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def tell(self, *lines: str) -> bool:
        """Send these lines, as one datagram; never waits, never raises.

        Returns:
            Whether they were sent. They are not while the service manager is behind: try again.
        """
        if self._socket is None or self._address is None:
            return False
        # A leading zero byte names an abstract socket, which the variable can't hold.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            self._socket.sendto("\n".join(lines).encode(), address)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            if not self._unreached:
                self._unreached = True
                _log.warning("systemd_not_reached", socket=self._address, reason=str(error))
            return False
        self._unreached = False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def in_microseconds(seconds: float) -> int:
    """A duration as systemd takes it."""
    return round(seconds * _MICROSECONDS)


def _datagram_socket() -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    opened.setblocking(False)
    return opened
