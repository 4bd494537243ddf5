"""Opens a connection to the first server of an address that answers and is fit."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import urlencode

import asyncpg

from worker.adapters.racing import NoneSucceeded, addresses_of, first_of
from worker.adapters.tls_files import check_files, trusting
from worker.core.addresses.postgres import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.core.addresses.postgres import DatabaseAddress
    from worker.core.addresses.text import Host

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_DRIVERS_WORDS: Final = frozenset(
    {
        *("sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
        "passfile",
    }
)
_SECONDS: Final = 5.0
_ROUNDS: Final = {"prefer-standby": ("standby", "any")}
_KEEPALIVE: Final = {
    "keepalives": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "keepalives_idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "keepalives_interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "keepalives_count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "tcp_user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
}


def default_port() -> int:
    """The port where an address names none, as libpq has it."""
    given = os.environ.get("PGPORT", "")
    return int(given) if given.isdecimal() else DEFAULT_PORT


async def open_first(
    address: DatabaseAddress, seconds: float | None = None, **options: Any
) -> Connection:
    """Open a connection to the first server that answers and fulfils `target_session_attrs`.

    Args:
        address: The servers, with everything that the driver has to know.
        seconds: Time limit of all together; the shorter of this and what the address says.
        options: For the driver: of the connection, whatever the address says.

    Raises:
        NoneSucceeded: No server can be used.
        UnusableFile: A file that the address names can't be used.
    """
    check_files(address.files)
    wanted = address.words.get("target_session_attrs")
    rounds = _ROUNDS.get(wanted or "", (wanted,))
    loop = asyncio.get_running_loop()
    limits = [float(limit) for limit in (seconds, address.seconds) if limit]
    began, limit = loop.time(), min(limits, default=_SECONDS)
    for number, attributes in enumerate(rounds[:-1], 1):
        with suppress(NoneSucceeded):
            deadline = began + limit * number / len(rounds)
            return await _one_round(address, attributes, deadline, options)
    return await _one_round(address, rounds[-1], began + limit, options)


async def _one_round(
    address: DatabaseAddress, attributes: str | None, deadline: float, options: Mapping[str, Any]
) -> Connection:
    hosts = list(address.hosts)
    if address.is_random:
        random.shuffle(hosts)
    given = {**options, **_arguments(address), "target_session_attrs": attributes}
    attempts = [
        (str(host), partial(_open_host, host, _socket_options(address), given, deadline))
        for host in hosts
    ]
    return await first_of(attempts, deadline=deadline, discard=_discard)


async def _open_host(
    host: Host,
    socket_options: Sequence[tuple[int, int, int]],
    given: Mapping[str, Any],
    deadline: float,
) -> Connection:
    """Open a connection to the first IP address of a host that answers."""
    found = await addresses_of(host, deadline)

    async def open_one(ip: str) -> Connection:
        loop: Any = asyncio.get_running_loop()
        seconds = max(deadline - loop.time(), 0.001)
        if ip != host.name or socket_options:
            loop = _Pinned(loop, ip, socket_options)
        return cast(
            "Connection",
            await asyncpg.connect(
                host=host.name,
                port=host.port,
                loop=loop,
                timeout=seconds,
                **given,
            ),
        )

    attempts = [
        (str(host) if len(found) == 1 else f"{host} ({ip})", partial(open_one, ip)) for ip in found
    ]
    return await first_of(attempts, deadline=deadline, discard=_discard)


async def _discard(connection: Connection) -> None:
    connection.terminate()


class _Pinned:
    """The event loop, but for one thing: it connects to a given IP address.

    The driver takes a name alone, and would try all its addresses within one time limit. The name
    is still what a certificate is compared with, and a password file.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ip: str,
        socket_options: Sequence[tuple[int, int, int]],
    ) -> None:
        self.loop = loop
        self._ip = ip
        self._socket_options = socket_options

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int, **given: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connect to the address in place of the host."""
        if given.get("ssl"):
            given["server_hostname"] = host
        transport, protocol = await self.loop.create_connection(factory, self._ip, port, **given)
        opened = transport.get_extra_info("socket")
        for level, option, value in self._socket_options:
            opened.setsockopt(level, option, value)
        return transport, protocol


class FitConnection(asyncpg.Connection):
    """A connection that is closed if its constructor fails, as for a server with an odd version.

    asyncpg (0.32) leaves it open, so that each attempt would leak a file descriptor.
    """

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, loop: Any, *rest: Any) -> None:
        try:
            super().__init__(protocol, transport, getattr(loop, "loop", loop), *rest)
        except Exception:
            transport.abort()
            self._aborted = True  # otherwise its finalizer warns
            raise


def _arguments(address: DatabaseAddress) -> dict[str, Any]:
    """What the driver is given of an address, whichever of its servers it connects to."""
    words = address.words
    driven = {name: value for name, value in words.items() if name in _DRIVERS_WORDS}
    arguments: dict[str, Any] = {}
    if address.trusts_system:
        arguments["ssl"] = trusting(address.files, None, verified=True)
        driven = {name: value for name, value in driven.items() if not name.startswith("ssl")}
        arguments["direct_tls"] = words.get("sslnegotiation") == "direct"
    return {
        **arguments,
        "dsn": f"postgresql://?{urlencode(driven)}" if driven else None,
        "user": address.user,
        "password": address.password,
        "database": address.database,
        "server_settings": _server_settings(words),
        "connection_class": FitConnection,
    }


def _server_settings(words: Mapping[str, str]) -> dict[str, str]:
    settings = {"application_name": words.get("application_name", "resolution-worker")}
    if options := words.get("options"):
        settings["options"] = options
    return settings


def _socket_options(address: DatabaseAddress) -> list[tuple[int, int, int]]:
    return [
        (*_KEEPALIVE[word], int(value))
        for word, value in address.words.items()
        # 0 is the system's own value, but for the switch.
        if word in _KEEPALIVE and (int(value) or word == "keepalives")
    ]
