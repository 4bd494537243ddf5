"""Between Starlette and the rest: headers of all answers, forms that are read, cookies."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect

from landing.security import COOKIE_SECONDS, FORM, HEADERS, MOST_BODY_BYTES, MOST_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS: Final = 10.0
MOST_UNREAD_BYTES: Final = 64 * 1024
UNREAD_SECONDS: Final = 2.0
_access: Final = logging.getLogger("landing.access")


class Outermost:
    """Around the whole application: headers on every answer, and a line about it in the log.

    The line has the path alone. Whoever writes a token into a query has it in no log of ours. What
    a view left unread is read first, since a browser reads no answer before it has sent all.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _Body(scope, receive)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if not await body.is_read():
                    headers["Connection"] = "close"
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                _access.info("%s %s %d", scope["method"], quote(scope["path"]), message["status"])
            await send(message)

        await self._app(scope, body.receive, send_with_headers)


class _Body:
    """The body of a request: knows whether it was read to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self._over = names.isdisjoint((b"content-length", b"transfer-encoding"))
        self._receive = receive

    async def receive(self) -> Message:
        """The next piece."""
        message = await self._receive()
        self._over = self._over or not message.get("more_body", False)
        return message

    async def is_read(self) -> bool:
        """Read what is left and throw it away; False if that is too much, or takes too long."""
        left = MOST_UNREAD_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(UNREAD_SECONDS):
                while not self._over and left >= 0:
                    left -= len((await self.receive()).get("body", b""))
        return self._over


class Refused(Exception):
    """A body is not read.

    Attributes:
        status: The HTTP status that says why: 400, 408, 413 or 415.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def read_form(request: Request) -> Mapping[str, list[str]]:
    """The fields of a form, decoded once.

    The body is not kept in the request, and what is raised here holds nothing of it: it may have a
    token in it, and error reporters show the variables of a traceback.

    Raises:
        Refused: It is no form, too large, too slow, or the browser is gone.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(415)
    if int(request.headers.get("content-length") or 0) > MOST_BODY_BYTES:
        raise Refused(413)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            found = await _bounded(request)
    except TimeoutError:
        found = 408
    except ClientDisconnect:
        found = 400
    if isinstance(found, int):
        raise Refused(found)
    return found


async def _bounded(request: Request) -> Mapping[str, list[str]] | int:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            return 413
    try:
        text = body.decode(errors="replace")
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return 400


def set_cookie(response: Response, name: str, secret: str) -> None:
    """Give the browser a secret.

    `Lax`, because the page that AWS's form leads to is reached from another site: with `Strict`
    the cookie would not come with that visit.
    """
    response.set_cookie(
        name, secret, COOKIE_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
    )


def drop_cookie(response: Response, name: str) -> None:
    """Take it away again."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
