"""Reads the state of a worker on this machine over HTTP."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASK_SECONDS: Final = 2.0
_MAX_BYTES: Final = 4 * 1024 * 1024
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Readings:
    """Values from a worker's `/metrics`.

    Attributes:
        version: The program's version.
        breaker_open: Whether its calls are stopped; None if not reported.
        oldest_seconds: Age of the oldest message it has in hand, by lane.
    """

    version: str
    breaker_open: bool | None
    oldest_seconds: Mapping[str, float]


async def port_fault(host: str, port: int) -> OSError | None:
    """Why a port can't be listened on, or None if it can."""
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, host, port)
    except OSError as error:
        return error
    except UnicodeError as error:  # an invalid host name, such as one with an empty label
        return socket.gaierror(socket.EAI_NONAME, str(error))
    server.close()
    await server.wait_closed()
    return None


async def readings(host: str, port: int) -> Readings | None:
    """The readings of the worker that listens there; None if no worker does."""
    text = await _fetch(host, port, "/metrics")
    return None if text is None else _read(text)


async def _fetch(host: str, port: int, path: str) -> str | None:
    host = _ANY_ADDRESS.get(host, host)
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            body = await response.content.read(_MAX_BYTES)
            return body.decode() if response.status == HTTPStatus.OK else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


def _read(text: str) -> Readings | None:
    try:
        samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("resolution_")
        ]
    except (ValueError, KeyError, IndexError):  # not metrics: another kind of program
        return None
    builds = [sample for sample in samples if sample.name == "resolution_build_info"]
    if not builds:
        return None
    breakers = [sample for sample in samples if sample.name == "resolution_breaker_open"]
    return Readings(
        version=builds[0].labels.get("version", "unknown"),
        breaker_open=breakers[0].value > 0 if breakers else None,
        oldest_seconds={
            sample.labels.get("lane", ""): sample.value
            for sample in samples
            if sample.name == "resolution_oldest_unsettled_seconds"
        },
    )
