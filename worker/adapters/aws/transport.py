"""HTTP to the endpoint: bounded answers, and AWS's clock."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.core.clock import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp
    from multidict import CIMultiDictProxy
    from yarl import URL

MAX_REPLY_BYTES: Final = 1024 * 1024


class UnusableReply(Exception):
    """AWS reported success, but its answer can't be used."""


class Reply(NamedTuple):
    """What came back: status, headers, and the whole body, unpacked."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Transport:
    """Sends over pooled connections; follows no redirect, which would take a token elsewhere.

    Args:
        session: The pooled HTTP session.
        proxy_headers: What the session's proxy is told with each request, if there is one.

    Attributes:
        clock: The `Date` of the last answer, exact to the second; None before any.
    """

    def __init__(
        self, session: aiohttp.ClientSession, proxy_headers: dict[str, str] | None = None
    ) -> None:
        self._session = session
        self._proxy_headers = proxy_headers
        self._date = ""
        self.clock: Reading | None = None

    async def post(self, url: URL, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a request and read what comes back.

        Raises:
            UnusableReply: The answer is larger than `MAX_REPLY_BYTES`.
            aiohttp.ClientError: There was none, or not all of it.
            OSError: Likewise.
        """
        async with self._session.post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy_headers=self._proxy_headers,
        ) as response:
            self._read_date(response.headers.get("Date", ""))
            return Reply(response.status, response.headers, await _read(response))

    async def look(self, url: str) -> int:
        """Ask the endpoint for nothing in particular, unsigned; returns the status."""
        async with self._session.get(
            url, allow_redirects=False, proxy_headers=self._proxy_headers
        ) as response:
            return response.status

    def _read_date(self, date: str) -> None:
        if date == self._date:
            return  # all answers within one second have the same date
        self._date = date
        try:
            instant = parsedate_to_datetime(date)
        except ValueError:
            return
        if instant.tzinfo is not None:
            self.clock = Reading(instant, asyncio.get_running_loop().time(), 1.0)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_REPLY_BYTES:
            response.close()
            raise UnusableReply(f"the answer is larger than {MAX_REPLY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
