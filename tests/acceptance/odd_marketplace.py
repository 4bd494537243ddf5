"""A stand-in for AWS that says what the simulator does not: any bytes for any token."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

SOUND = {"ProductCode": "p", "CustomerAWSAccountId": "012345678901"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer byte for byte.

    Attributes:
        cut: How many bytes of the body are held back before the connection is closed.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/x-amz-json-1.1"
    cut: int = 0
    location: str = ""

    @classmethod
    def of(cls, members: object, status: int = 200) -> Reply:
        """An answer in JSON."""
        return cls(json.dumps(members).encode(), status)


@asynccontextmanager
async def odd_marketplace(replies: Mapping[str, Reply]) -> AsyncIterator[str]:
    """Its address; a token without a reply of its own gets a sound one, with its own licence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        token = (await request.json())["RegistrationToken"]
        sound = Reply.of({**SOUND, "LicenseArn": f"arn:{token}"})
        reply = replies.get(token, sound)
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        if reply.location:
            headers["Location"] = reply.location
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) - reply.cut])
        if reply.cut and request.transport is not None:
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
