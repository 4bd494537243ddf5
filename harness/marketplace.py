"""A door before the simulator that notes each call, and answers as a broken AWS would."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from harness.history import Call, sha

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]

_JSON = "application/x-amz-json-1.1"


class Marketplace:
    """Passes calls on to the simulator unless `fault` is set.

    Attributes:
        url: Its address.
        calls: Every call that came, with the SHA-256 of its token.
        fault: Answers in the simulator's stead, or None.
        faulted: How many calls met the fault.
        odd: Bodies for single tokens, in any state.
    """

    def __init__(self, simulator: str) -> None:
        self._simulator = simulator
        self._session: aiohttp.ClientSession | None = None
        self.url = ""
        self.calls: list[Call] = []
        self.fault: Answer | None = None
        self.faulted = 0
        self.odd: dict[str, bytes] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Handle one call."""
        body = await request.read()
        token = json.loads(body)["RegistrationToken"]
        place = len(self.calls)
        self.calls.append(Call(sha(token.encode("utf-8", "surrogatepass")), time.time()))
        if token in self.odd:
            return web.Response(body=self.odd[token], content_type=_JSON)
        if self.fault is not None:
            self.faulted += 1
            return await self.fault(request, token)
        assert self._session is not None
        # The signature covers the host that the worker has called.
        headers = {k: v for k, v in request.headers.items() if k.lower() != "accept-encoding"}
        async with self._session.post(self._simulator, data=body, headers=headers) as answer:
            said = await answer.read()
            kept = ("Content-Type", "x-amzn-RequestId", "x-amzn-ErrorType")
            passed = {name: answer.headers[name] for name in kept if name in answer.headers}
            if answer.status == HTTPStatus.OK:
                self.calls[place] = replace(self.calls[place], answered=time.time())
            return web.Response(status=answer.status, body=said, headers=passed)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Marketplace]:
        """Serve until the block ends."""
        app = web.Application()
        app.router.add_post("/", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            self._session = session
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
                yield self
            finally:
                await runner.cleanup()


# --- faults ---


async def hanging(_: web.Request, __: str) -> web.StreamResponse:
    """Accept, and never answer."""
    await asyncio.sleep(3600)
    raise AssertionError


async def dripping(request: web.Request, _: str) -> web.StreamResponse:
    """A sound answer, a byte every half second: it will not end in time."""
    response = web.StreamResponse(headers={"Content-Type": _JSON, "Content-Length": "400"})
    await response.prepare(request)
    for _byte in range(400):
        await response.write(b" ")
        await asyncio.sleep(0.5)
    return response


async def resetting(request: web.Request, _: str) -> web.StreamResponse:
    """Take the call, and break the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def truncating(request: web.Request, _: str) -> web.StreamResponse:
    """Half of an answer, then the end of the connection."""
    response = web.StreamResponse(headers={"Content-Type": _JSON, "Content-Length": "400"})
    await response.prepare(request)
    await response.write(b'{"ProductCode": "p", "CustomerAWSAcc')
    assert request.transport is not None
    request.transport.close()
    return response


def saying(body: Any, status: int = 200, **headers: str) -> Answer:
    """The same answer to everybody."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(_: web.Request, __: str) -> web.StreamResponse:
        return web.Response(status=status, body=raw, headers={"Content-Type": _JSON, **headers})

    return answer


async def endless(request: web.Request, _: str) -> web.StreamResponse:
    """An answer of 20 MB."""
    size = 20 * 1024 * 1024
    response = web.StreamResponse(headers={"Content-Type": _JSON, "Content-Length": str(size)})
    await response.prepare(request)
    for _part in range(20):
        await response.write(b"[" * 1024 * 1024)
    return response


def refusing(code: str, message: str, status: int) -> Answer:
    """AWS's own way to say no."""
    return saying({"__type": f"com.amazonaws#{code}", "message": message}, status)


async def echoing(_: web.Request, token: str) -> web.StreamResponse:
    """A server fault whose words, code and headers repeat the token."""
    body = {"__type": f"Fault{token}", "message": f"no luck with {token} today"}
    return web.Response(
        status=500, body=json.dumps(body).encode(), headers={"Content-Type": _JSON, "X-Echo": token}
    )
