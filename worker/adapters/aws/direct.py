"""ResolveCustomer, with only that done for each call which differs from call to call.

aiobotocore's client resolves the endpoint, reads the configuration and builds the request, once:
all requests of one client differ in the token, the time and the signature alone. What it does anew
for each call (rules, events, signing, parsing, for any service) would take more of a worker's CPU
than all the rest. The tests compare requests and results with those of the library's client.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from json.encoder import encode_basestring_ascii
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from botocore.exceptions import ClientError
from yarl import URL

from worker.adapters.aws.signing import Signer
from worker.adapters.aws.transport import UnusableReply

if TYPE_CHECKING:
    from worker.adapters.aws.signing import Identity, Scope
    from worker.adapters.aws.transport import Reply, Transport

OPERATION: Final = "ResolveCustomer"
_EVENT: Final = f"before-call.marketplace-metering.{OPERATION}"


class Request(NamedTuple):
    """What all requests of one client have in common.

    Attributes:
        headers: Those that are signed, the host's included.
        user_agent: Not signed, since proxies may change it.
    """

    url: URL
    headers: dict[str, str]
    user_agent: str


class _Status(NamedTuple):
    """The only part of an HTTP response that botocore's client reads."""

    status_code: int


async def request_of(client: Any) -> Request:
    """What all requests of an aiobotocore client have in common; nothing is sent."""
    built: dict[str, Any] = {}

    def instead_of_sending(params: dict[str, Any], **_: Any) -> tuple[_Status, dict[str, Any]]:
        built.update(params)
        return _Status(HTTPStatus.OK), {}

    client.meta.events.register(_EVENT, instead_of_sending)
    try:
        await client.resolve_customer(RegistrationToken="none")
    finally:
        client.meta.events.unregister(_EVENT, instead_of_sending)
    url = URL(built["url"])
    headers = {"Host": _host(url)}
    for name in ("X-Amz-Target", "Content-Type"):
        value = built["headers"][name]
        headers[name] = value.decode() if isinstance(value, bytes) else value
    return Request(url, headers, built["headers"]["User-Agent"])


class DirectCalls:
    """See `worker.adapters.aws.client.Calls`."""

    def __init__(self, transport: Transport, request: Request, scope: Scope) -> None:
        self._transport = transport
        self._url = request.url
        self._signer = Signer(request.headers, scope)
        # As aiobotocore sends them: without them, aiohttp would add others of its own.
        self._unsigned = {
            "User-Agent": request.user_agent,
            "amz-sdk-request": "attempt=1",
            "Accept-Encoding": "identity",
        }

    async def resolve(self, token: str, identity: Identity) -> dict[str, Any]:
        """Make one call."""
        body = f'{{"RegistrationToken": {encode_basestring_ascii(token)}}}'.encode()
        headers = self._signer.sign(body, identity, time())
        headers |= self._unsigned
        headers["amz-sdk-invocation-id"] = _invocation_id()
        return _parsed(await self._transport.post(self._url, headers, body))


def _invocation_id() -> str:
    """A random UUID (RFC 9562, version 4), which `uuid` takes several times as long to make."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _host(url: URL) -> str:
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{host}" if url.is_default_port() else f"{host}:{url.port}"


def _parsed(reply: Reply) -> dict[str, Any]:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    if reply.status < HTTPStatus.MULTIPLE_CHOICES:
        if not isinstance(body, dict):
            raise UnusableReply("the answer is not a JSON object")
        return body
    described = {
        "Error": _error(reply, body if isinstance(body, dict) else {}),
        "ResponseMetadata": {"HTTPStatusCode": reply.status},
    }
    raise ClientError(described, OPERATION)


def _error(reply: Reply, body: dict[str, Any]) -> dict[str, str]:
    """AWS's code and message; the code may have a namespace before `#` and a URI after `:`."""
    raw = reply.headers.get("x-amzn-ErrorType") or body.get("__type") or body.get("code")
    code = raw.split(":", 1)[0].rsplit("#", 1)[-1] if isinstance(raw, str) else ""
    message = body.get("message") or body.get("Message")
    return {
        "Code": code or f"Http{reply.status}",
        "Message": message if isinstance(message, str) else f"HTTP status {reply.status}",
    }
