"""Free TCP ports of the loopback interface."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_000
_TRIES = 1000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Different ports nobody listens on at this instant.

    They lie below the range that the kernel gives to outgoing connections: a port of that
    range can be lost to any client between now and the moment the server takes it.
    """
    found: set[int] = set()
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, _highest())  # noqa: S311 - no secret
        if _free(port):
            found.add(port)
        if len(found) == count:
            break
    return sorted(found)


async def accepts(port: int) -> bool:
    """Whether somebody on the loopback interface takes connections on the port."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _highest() -> int:
    """One past the highest port outside the ephemeral range."""
    try:
        low = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError):
        low = 32_768
    return low if low > 2 * _LOWEST else 65_536


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
