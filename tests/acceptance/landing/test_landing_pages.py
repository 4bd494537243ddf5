"""The landing page against a real worker, over HTTP: who gets on, and who does not."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from landing.security import FORM, HEADERS, MOST_BODY_BYTES
from landing.visits import KEPT_SETUPS
from tests.acceptance.landing.plain_browser import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.acceptance.landing.plain_browser import PlainBrowser

CODE = re.compile(r'id="support-code">\w{4}-\w{4}-\w{4}<')


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


async def test_from_the_form_to_the_shop(buyer: PlainBrowser) -> None:
    """A buyer whom AWS names sees for whom the set-up is, presses the button, and is signed in."""
    page = await buyer.set_up(token("ok"))
    assert page.state == "resolved"
    assert "ending in" in page.text
    assert list(buyer.cookies) == [name for name in buyer.cookies if "landing" in name]
    assert (await buyer.get("/welcome")).state == "login"  # by the form alone nobody is signed in
    assert (await buyer.press(page)).state == "welcome"

    async def ready() -> bool:
        return "Everything is ready" in (await buyer.get("/welcome")).text

    await eventually(ready, "the agreement is provisioned")


@pytest.mark.parametrize(
    ("text", "state"), [("invalid", "restart"), ("expired", "restart"), ("a%2Bb", "contact")]
)
async def test_who_does_not_get_on(buyer: PlainBrowser, text: str, state: str) -> None:
    """Who has no good token begins again at AWS Marketplace, or gets a code to read out."""
    page = await buyer.set_up(token(text))
    assert (page.status, page.state) == (200, state)
    assert bool(CODE.search(page.text)) == (state == "contact")
    assert not page.fields


async def test_a_dead_token(buyer: PlainBrowser) -> None:
    """Who waits for a token that AWS can't settle is told so at last, over the stream."""
    answer = await buyer.arrive(token("garbage"))
    states = [each["state"] async for each in buyer.events(answer.location)]
    assert states[-1] == "contact"
    assert set(states[:-1]) <= {"waiting"}


async def test_the_same_token_again(buyer: PlainBrowser, stranger: PlainBrowser) -> None:
    """In the same browser it takes up the same set-up; in another it opens and tells nothing."""
    good = token("ok")
    first = await buyer.arrive(good)
    again = await buyer.arrive(good)
    assert first.location != again.location
    back = await buyer.ask("GET", again.location)
    assert (back.status, back.location) == (303, first.location)
    assert (await buyer.get(again.location)).state == "resolved"
    page = await stranger.set_up(good)
    assert page.state == "returning"
    assert not page.action
    assert "ending in" not in page.text


async def test_a_malformed_form_before_a_used_token(
    buyer: PlainBrowser, stranger: PlainBrowser
) -> None:
    """Who spoils the form with somebody else's token is not the first for that: nobody gets on."""
    good = token("ok")
    assert (await buyer.set_up(good)).state == "resolved"
    for offer_type in ("\x01", "x" * 300, good):
        form = {TOKEN: good, "x-amzn-marketplace-offer-type": offer_type}
        spoilt = await stranger.ask("POST", "/landing", form, cookies={})
        assert (await stranger.get(spoilt.location)).state == "contact"
        page = await stranger.set_up(good)
        assert not page.action
        assert "ending in" not in page.text


async def test_a_leaked_address(buyer: PlainBrowser, stranger: PlainBrowser) -> None:
    """The address of a set-up is worth nothing without the cookie, whatever is asked of it."""
    answer = await buyer.arrive(token("ok"))
    page = await buyer.get(answer.location)
    own = await stranger.arrive(token("ok"))
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/continue")):
        form = page.fields if method == "POST" else None
        refused = await stranger.ask(method, f"{answer.location}{path}", form)
        assert refused.status == 404
    assert "__Host-session" not in stranger.cookies
    # Nor does a good secret under this one's name.
    (secret,) = stranger.cookies.values()
    number = answer.location.rpartition("/")[2]
    forged = {f"__Host-landing-{number}": secret}
    for path in (answer.location, own.location):
        assert (await stranger.ask("GET", path, cookies=forged)).status == 404


async def test_the_button_needs_its_key(buyer: PlainBrowser, stranger: PlainBrowser) -> None:
    """A form without the key of this browser signs nobody in, even where its cookie comes along."""
    answer = await buyer.arrive(token("ok"))
    page = await buyer.get(answer.location)
    other = await stranger.set_up(token("ok"))
    for key in ("", "x", other.fields["key"]):
        assert (await buyer.press(page, key=key)).status == 404
    assert (await buyer.ask("POST", page.action, {})).status in {404, 415}
    assert (await buyer.ask("POST", "/logout", {"key": ""})).status == 404
    assert "__Host-session" not in buyer.cookies
    assert (await buyer.press(page)).state == "welcome"


async def test_another_customer_is_signed_in(buyer: PlainBrowser) -> None:
    """A stranger's token never replaces a session: the buyer is told, and logs out first."""
    await buyer.press(await buyer.set_up(token("ok")))
    session = buyer.cookies["__Host-session"]
    answer = await buyer.arrive(token("ok"))
    page = await buyer.get(answer.location)
    assert page.state == "other-customer"
    await buyer.ask("POST", f"{answer.location}/continue", page.fields)
    assert buyer.cookies["__Host-session"] == session
    page = await buyer.press(page)
    assert page.state == "resolved"
    assert "__Host-session" not in buyer.cookies
    assert (await buyer.press(page)).state == "welcome"


async def test_logged_out(buyer: PlainBrowser) -> None:
    """After the log-out nothing in this browser signs anybody in again, not even old cookies."""
    answer = await buyer.arrive(token("ok"))
    page = await buyer.press(await buyer.get(answer.location))
    before = dict(buyer.cookies)
    assert (await buyer.press(page)).state == "login"
    assert buyer.cookies == {}
    buyer.cookies.update(before)
    assert (await buyer.get("/welcome")).state == "login"
    assert (await buyer.get(answer.location)).state == "nothing"


async def test_a_session_is_never_one_that_was_brought(buyer: PlainBrowser) -> None:
    """Who plants a cookie in a browser does not know the session that is opened there."""
    page = await buyer.set_up(token("ok"))
    buyer.cookies["__Host-session"] = "planted"
    assert (await buyer.press(page)).state == "welcome"
    assert buyer.cookies["__Host-session"] != "planted"


async def test_a_browser_keeps_few_cookies(buyer: PlainBrowser, stranger: PlainBrowser) -> None:
    """A page that makes a browser post again and again does not fill it with cookies."""
    for _ in range(12):
        await buyer.set_up(token("a%2Bb"))
    assert len(buyer.cookies) <= KEPT_SETUPS + 1
    same = token("ok")
    for _ in range(20):
        assert (await stranger.set_up(same)).state == "resolved"
    assert len(stranger.cookies) <= 2 * KEPT_SETUPS + 1


async def chunks() -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    yield f"{TOKEN}=ok-".encode()
    for _ in range(MOST_BODY_BYTES // 1000 + 1):
        yield b"x" * 1000


async def test_the_body_is_bounded(buyer: PlainBrowser) -> None:
    """More than 16 KiB is refused, whether or not it says so; what is no form is too."""
    large = {TOKEN: "x" * MOST_BODY_BYTES}
    form = {"Content-Type": FORM}
    for answer in (
        await buyer.ask("POST", "/landing", large),
        await buyer.ask("POST", "/landing", chunks(), headers=form),
    ):
        assert (answer.status, answer.state) == (413, "too-large")
    answer = await buyer.ask(
        "POST", "/landing", b"{}", headers={"Content-Type": "application/json"}
    )
    assert (answer.status, answer.state) == (415, "restart")
    assert (await buyer.ask("POST", "/landing", b"", headers=form)).status == 303
    assert buyer.cookies


async def test_headers(buyer: PlainBrowser) -> None:
    """Every answer forbids storing, referrers, frames and whatever is not its own."""
    page = await buyer.set_up(token("ok"))
    welcome = await buyer.press(page)
    paths = (
        "/landing",
        "/login",
        "/healthz",
        "/nowhere",
        "/setup/1",
        "/setup/x",
        "/static/live.js",
    )
    for path in (*paths, "/static/nothing", "/setup/1/continue"):
        await buyer.ask("GET", path)
    await buyer.ask("POST", "/welcome", b"")
    assert {200, 303, 404, 405} <= {answer.status for answer in buyer.seen}
    for answer in buyer.seen:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert "Server" not in answer.headers
        assert "ok-" not in answer.location
        for cookie in answer.set_cookies:
            words = cookie.lower().split("; ")
            assert words[0].startswith("__host-")
            assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(words)
    assert "style=" not in page.text + welcome.text


async def test_junk_in_the_address(buyer: PlainBrowser) -> None:
    """Numbers that are too large, and cookies that are none, break nothing."""
    for number in (10**30, "9" * 5000, "٣"):
        odd = {f"__Host-landing-{number}": "x", "__Host-landing-": "y", "__Host-landing-²": "z"}
        for path in ("", "/events"):
            assert (await buyer.ask("GET", f"/setup/{number}{path}", cookies=odd)).status == 404
        assert (await buyer.ask("GET", "/setup/1", cookies=odd)).status == 404
    assert (await buyer.ask("GET", "/setup/0", cookies={"a": "b"})).status == 404
