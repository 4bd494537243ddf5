"""ResolveCustomer by aiobotocore's client as it is: its endpoint rules, signature and parser.

It takes several times the CPU of `direct`, and does nothing that AWS's own library would not do.
Only the connections are ours, for proxy, trust store and bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.credentials import AioCredentials
from botocore.exceptions import ClientError
from yarl import URL

from worker.adapters.aws.attempt import attempt

if TYPE_CHECKING:
    from aiobotocore.awsrequest import AioAWSPreparedRequest
    from botocore.awsrequest import AWSRequest

    from worker.adapters.aws.signing import Identity
    from worker.adapters.aws.transport import Transport

_CALL: Final = "marketplace-metering.ResolveCustomer"


class PlainCalls:
    """See `worker.adapters.aws.client.Calls`.

    Args:
        client: One that does not retry.
        transport: What it sends over.
    """

    def __init__(self, client: Any, transport: Transport) -> None:
        self._client = client
        self._transport = transport
        client.meta.events.register(f"before-sign.{_CALL}", _sign_as_told)
        client.meta.events.register(f"before-send.{_CALL}", self._send)

    async def resolve(self, token: str, identity: Identity) -> dict[str, Any]:
        """Make one call."""
        attempt.get().identity = identity
        try:
            reply: dict[str, Any] = await self._client.resolve_customer(RegistrationToken=token)
        except ClientError as error:
            raise _named(error) from None
        return reply

    async def _send(self, request: AioAWSPreparedRequest, **_: Any) -> AioAWSResponse:
        """Send a prepared request in place of botocore's own connections."""
        headers = {name: _text(value) for name, value in request.headers.items()}
        headers.pop("Content-Length", None)  # aiohttp's matter
        headers["Accept-Encoding"] = "identity"  # as aiobotocore's own connections say
        reply = await self._transport.post(URL(request.url, encoded=True), headers, request.body)
        told = {name.lower(): value for name, value in reply.headers.items()}
        return AioAWSResponse(request.url, reply.status, told, _Body(_parseable(reply.body)))


def _sign_as_told(request: AWSRequest, **_: Any) -> None:
    identity = attempt.get().identity
    assert identity is not None
    signing = request.context.setdefault("signing", {})
    signing["request_credentials"] = AioCredentials(*identity)


def _named(error: ClientError) -> ClientError:
    """An error without a code is named after its HTTP status."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    described = error.response["Error"]
    if described.get("Code") in {None, "", str(status)}:
        described["Code"] = f"Http{status}"
    if not described.get("Message"):
        described["Message"] = f"HTTP status {status}"
    return error


def _parseable(body: bytes) -> bytes:
    """A body as it is, or an empty object for what makes botocore's parser raise anything."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return b"{}"
    is_sound = isinstance(said, dict) and isinstance(said.get("__type", ""), str)
    return body if is_sound else b"{}"


class _Body:
    """A body that was read."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
