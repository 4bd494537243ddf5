"""A page that plays AWS Marketplace: it posts made-up tokens to a landing page, across sites."""

from __future__ import annotations

import html
import secrets
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_TEMPLATE: Final = Path(__file__).with_name("storefront.html")
_HEADERS: Final = {"Cache-Control": "no-store"}  # going back brings new tokens


class Buyer(NamedTuple):
    """A kind of buyer.

    Attributes:
        word: The token, with an asterisk for what makes it unique; the simulator's words.
        name: What the page calls it.
        happens: What there is to see.
    """

    word: str
    name: str
    happens: str


BUYERS: Final = (
    Buyer("ok-*", "A buyer", "AWS names the buyer at once, and the set-up goes on."),
    Buyer(
        "throttle-25-*",
        "A buyer at a busy moment",
        "AWS throttles our calls for a few seconds. The page waits, and goes on by itself.",
    ),
    Buyer("slow-10000-*", "A buyer with patience", "AWS answers after ten seconds."),
    Buyer("invalid-*", "An invalid link", "AWS does not know the token: begin again."),
    Buyer("expired-*", "A link that is too old", "AWS says that the token has expired."),
    Buyer(
        "garbage-*",
        "A buyer who needs help",
        "AWS keeps sending what nobody can read. The page waits, and then shows a code.",
    ),
    Buyer("a%2Bb", "A broken form", "What comes cannot be a token. The page shows a code."),
)
AGAIN: Final = Buyer(
    "",
    "The link of a moment ago, once more",
    "Let “A buyer” in, come back in a private window and choose this: it opens nothing there.",
)


class Storefront:
    """Serves a page for buyers to choose from, and one for each token that a test offers.

    Args:
        landing: The address that the form is posted to.

    Attributes:
        url: Its own address.
    """

    def __init__(self, landing: str) -> None:
        self._landing = landing
        self._offers: list[tuple[str, str]] = []
        self._last = ""
        self.url = ""

    def offer(self, token: str, landing: str | None = None) -> str:
        """The address of a page with a button that posts this token.

        Args:
            token: It.
            landing: Where to, if not to the address of all others.
        """
        self._offers.append((token, landing or self._landing))
        return f"{self.url}offers/{len(self._offers)}"

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Storefront]:
        """Serve until the block ends."""
        app = web.Application()
        app.router.add_get("/", self._all)
        app.router.add_get("/offers/{number}", self._offer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            yield self
        finally:
            await runner.cleanup()

    async def _all(self, _: web.Request) -> web.Response:
        unique = secrets.token_hex(8)
        choices = [(buyer.word.replace("*", unique), buyer) for buyer in BUYERS]
        if self._last:
            choices.append((self._last, AGAIN))
        self._last = choices[0][0]
        return _page(choices, self._landing)

    async def _offer(self, request: web.Request) -> web.Response:
        token, landing = self._offers[int(request.match_info["number"]) - 1]
        return _page([(token, Buyer(token, "A buyer of a test", ""))], landing)


def _page(choices: list[tuple[str, Buyer]], landing: str) -> web.Response:
    shown = [_choice(token, buyer, first=not place) for place, (token, buyer) in enumerate(choices)]
    text = _TEMPLATE.read_text(encoding="utf-8").replace("{choices}", "\n".join(shown))
    text = text.replace("{landing}", html.escape(f"{landing}/landing"))
    return web.Response(text=text, content_type="text/html", headers=_HEADERS)


def _choice(token: str, buyer: Buyer, *, first: bool) -> str:
    return (
        f'<label><input type="radio" name="x-amzn-marketplace-token"'
        f' value="{html.escape(token)}"{" checked" if first else ""}>'
        f"<span><b>{html.escape(buyer.name)}</b> {html.escape(buyer.happens)}</span></label>"
    )
