"""Connections to AWS that note in `attempt` how far each call gets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.adapters import reach
from worker.adapters.aws.attempt import attempt

if TYPE_CHECKING:
    import ssl

    from aiohttp.connector import Connection

_KEEPALIVE_SECONDS: Final = 30
_NAME_SECONDS: Final = 60.0  # the call's own time limit is the one that matters


class Connector(aiohttp.TCPConnector):
    """Pooled connections; a call for which none comes about has sent nothing to AWS.

    A proxy's answer to CONNECT and TLS belong to the connection, not to the call.
    """

    def __init__(self, limit: int, trusted: ssl.SSLContext) -> None:
        super().__init__(
            limit=limit,
            ssl=trusted,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            resolver=_Resolver(),
            socket_factory=_socket,
        )

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        """A connection to the endpoint, from the pool or a new one."""
        connection = await super().connect(*args, **kwargs)
        attempt.get().sent = True
        return connection


def _socket(address: Any) -> socket.socket:
    attempt.get().connecting = True
    family, kind, protocol, _, _ = address
    return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Looks names up in threads for which the end of the program does not wait."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - both are asked for
    ) -> list[ResolveResult]:
        try:
            addresses = await reach.lookup(host, _NAME_SECONDS)
        except reach.UnknownName as fault:
            found = fault.__context__  # aiohttp expects an error of the system's
            raise found if isinstance(found, OSError) else OSError(str(fault)) from None
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""
