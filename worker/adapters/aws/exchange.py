"""One HTTP exchange with AWS, in place of botocore's own signing, sending and parsing.

A handler of botocore's event `before-call` may return a response itself. The client still resolves
the endpoint and builds the request; this handler signs it, sends it over a pooled aiohttp session
and reads the reply, at about a third of the CPU that botocore's general code takes for it.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from yarl import URL

from worker.adapters.aws import signing
from worker.core.clock import Reading

if TYPE_CHECKING:
    import aiohttp

    from worker.adapters.aws.signing import Identity

MAX_REPLY_BYTES: Final = 1024 * 1024


class Attempt:
    """One call or look, and how far it has got.

    Attributes:
        identity: Who signs it; None for a look that is not signed.
        connecting: Whether the host's name was resolved.
        sent: Whether there was a connection for it, so that something may have been sent.
    """

    __slots__ = ("connecting", "identity", "sent")

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity
        self.connecting = self.sent = False


# Set around each call, because neither botocore's events nor aiohttp's connector pass on anything
# from the caller. The caller has found the identity before, within its own time limit, so that only
# the call itself can fail here.
attempt: ContextVar[Attempt] = ContextVar("attempt")


class UnusableReply(Exception):
    """AWS reported success, but its answer can't be used."""


class HttpStatus(NamedTuple):
    """The only part of an HTTP response that botocore's client reads."""

    status_code: int


class Exchange:
    """Signs as the identity of `attempt`, sends and reads; registered for `before-call`.

    Args:
        session: The pooled HTTP session.
        scope: Region and signing name.
        proxy_headers: What the session's proxy is told with each request, if there is one.

    Attributes:
        clock: The `Date` of the last answer, exact to the second; None before any.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        scope: signing.Scope,
        proxy_headers: dict[str, str] | None = None,
    ) -> None:
        self._session = session
        self._scope = scope
        self._proxy_headers = proxy_headers
        self._urls: dict[str, URL] = {}
        self._date = ""
        self.clock: Reading | None = None

    async def __call__(self, params: dict[str, Any], **_: Any) -> tuple[HttpStatus, dict[str, Any]]:
        """Make a call in place of botocore; returns the status and the parsed reply."""
        url = self._url(params["url"])
        body = params["body"]
        identity = attempt.get().identity
        assert identity is not None  # a look makes no call
        headers = signing.sign(
            _headers(params["headers"], url), body, identity, self._scope, datetime.now(UTC)
        )
        headers["User-Agent"] = params["headers"]["User-Agent"]
        async with self._session.post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy_headers=self._proxy_headers,
        ) as response:
            self._read_date(response.headers.get("Date", ""))
            reply = await _read(response)
            return HttpStatus(response.status), _parsed(response, reply)

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

    def _url(self, text: str) -> URL:
        url = self._urls.get(text)
        if url is None:
            url = self._urls[text] = URL(text)
        return url


def _headers(built: dict[str, Any], url: URL) -> dict[str, str]:
    headers = {"Host": _host(url)}
    for name in ("X-Amz-Target", "Content-Type"):
        value = built[name]
        headers[name] = value.decode() if isinstance(value, bytes) else value
    return headers


def _host(url: URL) -> str:
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{host}" if url.is_default_port() else f"{host}:{url.port}"


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


def _parsed(response: aiohttp.ClientResponse, reply: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(reply)
    except orjson.JSONDecodeError:
        body = None
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        if not isinstance(body, dict):
            raise UnusableReply("the answer is not a JSON object")
        return body
    return {
        "Error": _error(response, body if isinstance(body, dict) else {}),
        "ResponseMetadata": {"HTTPStatusCode": response.status},
    }


def _error(response: aiohttp.ClientResponse, body: dict[str, Any]) -> dict[str, str]:
    """AWS's code and message; the code may have a namespace before `#` and a URI after `:`."""
    raw = response.headers.get("x-amzn-ErrorType") or body.get("__type") or body.get("code")
    code = raw.split(":", 1)[0].rsplit("#", 1)[-1] if isinstance(raw, str) else ""
    message = body.get("message") or body.get("Message")
    return {
        "Code": code or f"Http{response.status}",
        "Message": message if isinstance(message, str) else f"HTTP status {response.status}",
    }
