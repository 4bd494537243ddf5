"""The endpoint alone, in other frameworks, with what hears of late answers beside it."""

from __future__ import annotations

import signal
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from harness.installation import bare_environment
from harness.landing.application import LandingPage
from harness.waiting import eventually
from landing.limits import BURST
from landing.security import HEADERS, MOST_BODY_BYTES
from landing.visits import KEPT_SETUPS
from tests.acceptance.landing.landing_programs import database
from tests.acceptance.landing.plain_browser import TOKEN, plain_browser

if TYPE_CHECKING:
    from harness.installation import Installation

_SERVE = """
import importlib, os
from werkzeug.serving import WSGIRequestHandler, make_server

application = importlib.import_module(os.environ["MODULE"]).application
server = make_server("127.0.0.1", 0, application, threaded=True)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


class Endpoint(LandingPage):
    """The endpoint in a framework, on a threaded server."""

    command = (sys.executable, "-c", _SERVE)


class Listener(LandingPage):
    """What hears of late answers, without pages."""

    command = (sys.executable, "-m", "landing.provisioning")


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


@pytest.mark.parametrize("module", ["django_endpoint", "flask_endpoint"])
async def test_the_endpoint_alone(module: str, stage: Installation) -> None:
    """Guards, cookie and answers are those of the application, also of an answer that is late."""
    own = bare_environment(stage.home) | {"MODULE": module}
    where = (stage.web, stage.home / "landing.sqlite", own)
    listener, endpoint = Listener(*where), Endpoint(*where)
    stage.started.extend((listener, endpoint))
    await eventually(lambda: endpoint.port, "it serves")
    async with plain_browser(endpoint.url) as buyer, plain_browser(endpoint.url) as stranger:
        late = await buyer.arrive(token("ok"))
        page = await buyer.get(late.location)
        assert (page.state, page.headers["Refresh"]) == ("waiting", "5")
        assert (await stranger.get(late.location)).status == 404

        async def is_resolved() -> bool:
            return (await buyer.get(late.location)).state == "resolved"

        await stage.run()
        await eventually(is_resolved, "the late answer is there")
        good = token("ok")
        assert (await buyer.set_up(good)).state == "resolved"
        assert (await stranger.set_up(good)).state == "returning"
        assert (await buyer.set_up(token("invalid"))).state == "restart"
        large = await buyer.ask("POST", "/landing", {TOKEN: "x" * MOST_BODY_BYTES})
        odd = await buyer.ask("POST", "/landing", b"{}", headers={"Content-Type": "text/json"})
        assert (large.status, odd.status) == (413, 415)
        for _ in range(12):
            await stranger.set_up(token("a%2Bb"))
        assert len(stranger.cookies) <= KEPT_SETUPS + 1
        flood = [await stranger.arrive(token("a%2Bb")) for _ in range(BURST * 2)]
        assert 429 in {answer.status for answer in flood}
    for answer in (*buyer.seen, *stranger.seen):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        for cookie in answer.set_cookies:
            words = set(cookie.lower().split("; "))
            assert {"secure", "httponly", "path=/", "samesite=lax"} <= words
    kept = b"".join(file.read_bytes() for file in database(stage))
    assert good.encode() not in kept
    assert good not in endpoint.said + listener.said
    listener.send(signal.SIGTERM)
    await listener.exit_code()
