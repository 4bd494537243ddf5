"""What is left of a browser's set-ups when it logs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from starlette.requests import Request

from landing import accounts, security
from landing.pages import Parts
from landing.records import Customer
from landing.store import Background, Store
from tests.unit.landing.landing_answers import resolved

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.responses import Response
    from starlette.types import Message

COOKIES = {"__Host-session": "s", **{f"__Host-landing-{each}": f"c{each}" for each in (1, 2, 3)}}
OTHER = Customer("other", "prod-2", "999999999999")


async def log_out(store: Background, setup: str) -> Response:
    """Press the button on the page of a set-up."""
    body = urlencode({"key": security.form_key("s"), "setup": setup}).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in COOKIES.items())
    headers = [(b"content-type", security.FORM.encode()), (b"cookie", cookie.encode())]
    parts = Parts(*cast(Any, (store, None, None, None, None)))

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": "POST", "headers": headers, "state": {"parts": parts}}
    return await accounts.logout(Request(scope, receive))


async def test_a_token_that_was_brought_twice(tmp_path: Path) -> None:
    """The buyer goes on with all set-ups of the token; the first answer may be the later one's."""
    hidden = {each: security.digest(f"c{each}") for each in (1, 2, 3)}
    async with Background(tmp_path / "landing.sqlite") as store:
        await store(Store.begin, 1, hidden[1], resolved("m", repeated=True), 1.0)
        await store(Store.begin, 2, hidden[2], resolved("n"), 2.0)
        await store(Store.begin, 3, hidden[3], resolved("o", "another"), 3.0)
        await store(Store.sign_in, security.digest("s"), OTHER, 3, 4.0)
        response = await log_out(store, "1")
        assert response.headers["location"] == "/setup/1"
        left = await store(Store.setups, list(hidden.values()))
        assert [each.number for each in left] == [1, 2]
        assert await store(Store.session, security.digest("s")) is None
        dropped = response.headers.getlist("set-cookie")
        assert {each.partition("=")[0] for each in dropped} == {
            "__Host-session",
            "__Host-landing-3",
        }


async def test_a_set_up_that_is_none_of_this_browsers(tmp_path: Path) -> None:
    """Whatever the form names, it leads nowhere but to a set-up of this browser."""
    async with Background(tmp_path / "landing.sqlite") as store:
        await store(Store.begin, 7, security.digest("x"), resolved("m"), 1.0)
        for named in ("7", "1", "//strange.example", "9" * 5000, ""):
            assert (await log_out(store, named)).headers["location"] == "/login"
