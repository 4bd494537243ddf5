"""A browser without a screen: keeps cookies, follows nothing by itself."""

from __future__ import annotations

import itertools
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_networks = itertools.count(1)
TOKEN = "x-amzn-marketplace-token"
_STATE = re.compile(r'data-state="([^"]+)"')
_FIELD = re.compile(r'name="(\w+)" value="([^"]*)"')
_ACTION = re.compile(r'action="([^"]+)"')


def address() -> str:
    """An address of this machine in a network (/24) that nobody has used yet."""
    number = next(_networks)
    return f"127.{100 + number // 256}.{number % 256}.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        set_cookies: The headers of that name.
    """

    status: int
    headers: Mapping[str, str]
    set_cookies: list[str]
    text: str

    @property
    def state(self) -> str:
        """Which page it is."""
        found = _STATE.search(self.text)
        return found[1] if found else ""

    @property
    def location(self) -> str:
        """Where it sends the browser; empty if nowhere."""
        return self.headers.get("Location", "")

    @property
    def fields(self) -> dict[str, str]:
        """The hidden fields of its form."""
        return dict(_FIELD.findall(self.text))

    @property
    def action(self) -> str:
        """Where its form is posted to."""
        found = _ACTION.search(self.text)
        return found[1] if found else ""

    @property
    def whole(self) -> str:
        """Headers and text."""
        return f"{dict(self.headers)} {self.set_cookies} {self.text}"


class PlainBrowser:
    """A browser profile of its own at one address of this machine.

    Attributes:
        cookies: Those it has.
        seen: Every answer so far.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.cookies: dict[str, str] = {}
        self.seen: list[Answer] = []

    async def arrive(self, token: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Post AWS's form from AWS's page: no cookie comes with it."""
        return await self.ask("POST", "/landing", {TOKEN: token}, cookies={}, headers=headers)

    async def set_up(self, token: str) -> Answer:
        """Arrive, and go where one is sent."""
        answer = await self.arrive(token)
        assert answer.status == 303, answer.text
        return await self.get(answer.location)

    async def get(self, path: str) -> Answer:
        """Open a page, and follow where it leads."""
        answer = await self.ask("GET", path)
        while answer.location:
            answer = await self.ask("GET", answer.location)
        return answer

    async def press(self, page: Answer, **changed: str) -> Answer:
        """Press the button of a page's form."""
        answer = await self.ask("POST", page.action, {**page.fields, **changed})
        return await self.get(answer.location) if answer.location else answer

    async def ask(
        self,
        method: str,
        path: str,
        form: Any = None,
        *,
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, with these cookies in place of its own if they are given."""
        sent = self.cookies if cookies is None else cookies
        named = dict(headers or {})
        if sent:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in sent.items())
        async with self._session.request(
            method, f"{self._url}{path}", data=form, headers=named, allow_redirects=False
        ) as response:
            set_cookies = response.headers.getall("Set-Cookie", [])
            text = await response.text()
            answer = Answer(response.status, response.headers, set_cookies, text)
        self._keep(set_cookies)
        self.seen.append(answer)
        return answer

    def _keep(self, set_cookies: list[str]) -> None:
        for header in set_cookies:
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]

    async def events(self, path: str) -> AsyncIterator[dict[str, str]]:
        """What the stream of a set-up says, until it ends."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self._session.get(
            f"{self._url}{path}/events", headers={"Cookie": cookie}
        ) as response:
            assert response.status == 200
            assert response.headers["X-Accel-Buffering"] == "no"
            assert "no-store" in response.headers["Cache-Control"]
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@asynccontextmanager
async def plain_browser(url: str, address: str = "127.0.0.1") -> AsyncIterator[PlainBrowser]:
    """A browser at this address, until the block ends."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield PlainBrowser(session, url)
