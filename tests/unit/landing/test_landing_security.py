"""What is read of a request, what is hidden, and what every answer carries."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from landing import edge, security, views
from landing.edge import Refused, read_form
from landing.limits import Buckets
from landing.pages import Parts
from landing.security import FORM, MOST_BODY_BYTES, form_key, has_key
from resolution_client import NotPublished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message

CANARY = "ok-canary"
BODY = f"x-amzn-marketplace-token={CANARY}".encode()


@dataclass
class Sent:
    """A request whose body comes in these pieces; the browser is gone after them if it says so."""

    pieces: list[bytes] = field(repr=False)
    content_type: str = FORM
    length: int | None = None
    gone: bool = False
    state: dict[str, Any] = field(default_factory=dict)

    def request(self) -> Request:
        """As a view gets it."""
        headers = [(b"content-type", self.content_type.encode())]
        if self.length is not None:
            headers.append((b"content-length", str(self.length).encode()))
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/landing",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "state": self.state,
        }
        pieces = iter(self.pieces)

        async def receive() -> Message:
            piece = next(pieces, None)
            if piece is None and self.gone:
                return {"type": "http.disconnect"}
            if piece is None and self.length:
                await asyncio.Event().wait()
            more = self.gone or bool(self.length)
            return {"type": "http.request", "body": piece or b"", "more_body": more or bool(piece)}

        return Request(scope, receive)


async def test_a_form_is_decoded_once() -> None:
    """Fields are decoded as a browser encodes them, once and no more."""
    form = await read_form(Sent([b"a=1%2B2", b"+3&b=%25", b"2B&c=&a=4&d=%E2%82%AC"]).request())
    assert form == {"a": ["1+2 3", "4"], "b": ["%2B"], "c": [""], "d": ["€"]}
    also = await read_form(Sent([b"a=1"], f"{FORM.upper()}; charset=UTF-8").request())
    assert also == {"a": ["1"]}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (Sent([BODY], "application/json"), 415),
        (Sent([BODY], "multipart/form-data; boundary=x"), 415),
        (Sent([BODY], ""), 415),
        (Sent([BODY, b"x" * MOST_BODY_BYTES]), 413),
        (Sent([BODY], length=MOST_BODY_BYTES + 1), 413),
        (Sent([BODY], gone=True), 400),
        (Sent([BODY, b"&a=b" * security.MOST_FIELDS]), 400),
        (Sent([BODY], length=1000), 408),
    ],
)
async def test_what_is_not_read(sent: Sent, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no form, too large, too slow or broken off is refused, and not shown."""
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.05)
    with pytest.raises(Refused) as refused:
        await read_form(sent.request())
    assert refused.value.status == status
    assert CANARY not in shown(refused.value)


def shown(error: BaseException) -> str:
    """All that an error reporter would collect."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(whole.format())


class Breaks:
    """A resolver, or a store, that fails after the form was read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def resolve_form(self, form: Mapping[str, Any], **_: object) -> None:
        """Fail, as the client does: without the form in its variables."""
        assert form == {"x-amzn-marketplace-token": [CANARY]}
        del form
        raise self.error


async def test_no_token_in_a_traceback() -> None:
    """A view that breaks after it read the form has no token among its variables."""
    parts = Parts(*cast(Any, (None, Breaks(OSError("broken")), None, Buckets(), None)))
    with pytest.raises(OSError, match="broken") as broken:
        await views.land(Sent([BODY], state={"parts": parts}).request())
    assert "resolve_form" in shown(broken.value)
    assert CANARY not in shown(broken.value)


async def test_not_published() -> None:
    """What the broker did not take is answered with a page to be loaded again."""
    parts = Parts(*cast(Any, (None, Breaks(NotPublished("away")), None, Buckets(), None)))
    page = await views.land(Sent([BODY], state={"parts": parts}).request())
    assert page.status_code == 503
    assert b'data-state="try-again"' in page.body


def test_a_form_key_is_a_browsers_own() -> None:
    """A form needs the key that belongs to the cookie's secret; no other, and not the secret."""
    secret = security.new_secret()
    assert has_key({"key": [form_key(secret)]}, secret)
    for wrong in ("", secret, form_key(""), form_key(security.new_secret()), "\ud800"):
        assert not has_key({"key": [wrong]}, secret)
    assert not has_key({}, secret)


def test_cookies() -> None:
    """A cookie is bound to the host and hidden from scripts; only set-ups' are read as such."""
    response = PlainTextResponse("")
    edge.set_cookie(response, security.setup_cookie(7), "s")
    edge.drop_cookie(response, security.SESSION)
    for header in response.headers.getlist("set-cookie"):
        name, *words = header.lower().split("; ")
        assert name.startswith("__host-")
        assert {"httponly", "path=/", "samesite=lax", "secure"} <= set(words)
        assert not any(word.startswith("domain") for word in words)
    cookies = {"__Host-landing-7": "s", "__Host-landing-x": "t", "landing-8": "u", "a": "b"}
    assert security.setup_secrets(cookies) == {7: "s"}


async def test_headers_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Every answer has the headers; the log has the path of the request and no query."""
    sent: list[Any] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/a\nb",
        "query_string": CANARY.encode(),
        "headers": [],
    }
    answer = PlainTextResponse("", headers={"Cache-Control": "no-store, no-transform"})
    with caplog.at_level("INFO", "landing.access"):
        await edge.Outermost(answer)(scope, cast(Any, None), keep)
    assert caplog.messages == ["GET /a%0Ab 200"]
    headers = dict(sent[0]["headers"])
    assert headers[b"cache-control"] == b"no-store, no-transform"
    for name, value in security.HEADERS.items():
        assert name == "Cache-Control" or headers[name.lower().encode()] == value.encode()


@pytest.mark.parametrize(
    ("pieces", "closes"),
    [([BODY], False), ([BODY] * 9, False), ([b"x" * 30_000] * 9, True), ([BODY, None], True)],
)
async def test_what_was_left_unread(
    pieces: list[bytes | None], *, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer waits for the rest of the body, or closes the connection if that is too much."""
    monkeypatch.setattr(edge, "UNREAD_SECONDS", 0.05)
    left = list(pieces)
    sent: list[Message] = []

    async def receive() -> Message:
        piece = left.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def keep(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"1")]}
    await edge.Outermost(PlainTextResponse("no"))(scope, receive, keep)
    assert (dict(sent[0]["headers"]).get(b"connection") == b"close") == closes
    assert closes or not left
