"""What is answered to which request."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from landing import security
from landing.edge import Refused, drop_cookie, read_form, set_cookie
from landing.events import stream
from landing.pages import Parts, client_network, notice, parts_of, see_other, show, signed_in
from landing.store import Store
from landing.visits import of_token, page_of, surplus
from resolution_client import Closed, NotPublished

if TYPE_CHECKING:
    from starlette.requests import Request

    from landing.records import Customer, Setup
    from landing.visits import Page
    from resolution_client import Answer

EVENT_STREAM: Final = "text/event-stream"
WAIT_SECONDS: Final = 2.0
"""So long a browser waits for the first answer; then for the waiting page."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser that comes to one of its own set-ups.

    Attributes:
        same: This set-up and others of the same browser and token, the oldest first.
        secret: Of this one's cookie.
        signed_in: Whose session this browser has, if anybody's.
        page: What to show.
        surplus: Numbers of set-ups whose cookies the browser need not keep.
    """

    same: list[Setup]
    secret: str
    signed_in: Customer | None
    page: Page
    surplus: list[int]


# --- the buyer arrives ---


async def land(request: Request) -> Response:
    """AWS's form, which the buyer's browser posts from AWS's page.

    No local variable here may hold the form: error reporters show the variables of a traceback.
    """
    parts, network = parts_of(request), client_network(request)
    if wait := parts.buckets.seconds_to_wait(network, time.monotonic()):
        busy = notice(request, 429)
        busy.headers["Retry-After"] = str(math.ceil(wait))
        return busy
    try:
        answer = await parts.resolver.resolve_form(
            await read_form(request), wait=WAIT_SECONDS, source=network or None
        )
    except Refused as refused:
        return notice(request, refused.status)
    except (NotPublished, Closed):
        return notice(request, 503)
    return await _begun(parts, answer)


async def _begun(parts: Parts, answer: Answer) -> Response:
    number, secret = security.new_number(), security.new_secret()
    await parts.store(Store.begin, number, security.digest(secret), answer, time.time())
    response = see_other(f"/setup/{number}")
    set_cookie(response, security.setup_cookie(number), secret)
    return response


async def begin(request: Request) -> Response:
    """Somebody comes without a form."""
    return show(request, "notice", state="begin")


# --- the buyer's own set-up ---


async def setups_of(request: Request) -> tuple[dict[int, str], list[Setup]]:
    """The secrets that this browser has, by the numbers of set-ups, and the set-ups."""
    secrets = security.setup_secrets(request.cookies)
    digests = [security.digest(each) for each in secrets.values()]
    found = await parts_of(request).store(Store.setups, digests)
    return secrets, security.own_setups(found, secrets)


async def visit_of(request: Request) -> Visit | None:
    """What this browser may see of the set-up in the address; None if that is not its own."""
    parts, number = parts_of(request), request.path_params["number"]
    secrets, mine = await setups_of(request)
    same = of_token(mine, number)
    if not same:
        return None
    customer = await signed_in(request)
    workers = parts.resolver.workers
    calls = workers.calls if workers else None
    page = page_of(same, calls, time.time(), customer)
    return Visit(same, secrets[number], customer, page, surplus(secrets, mine, same))


async def setup(request: Request) -> Response:
    """The page of a set-up."""
    visit = await visit_of(request)
    if visit is None:
        return notice(request, 404)
    number = request.path_params["number"]
    if visit.same[0].number != number:  # the same token again, in the same browser
        return see_other(f"/setup/{visit.same[0].number}")
    key = security.form_key(visit.secret)
    session = security.form_key(request.cookies.get(security.SESSION, ""))
    page = show(
        request,
        "setup",
        page=visit.page,
        number=number,
        key=key,
        signed_in=visit.signed_in,
        session_key=session,
    )
    for each in visit.surplus:
        drop_cookie(page, security.setup_cookie(each))
    return page


async def events(request: Request) -> Response:
    """What changes on that page, as server-sent events."""
    parts, network = parts_of(request), client_network(request)
    if await visit_of(request) is None:
        return PlainTextResponse("no such set-up in this browser\n", 404)
    if request.method == "HEAD":  # a stream would hold up whoever is next on this connection
        return Response(media_type=EVENT_STREAM)
    if parts.streams.full(network):
        return PlainTextResponse("too many\n", 503, {"Retry-After": "5"})

    async def look() -> Page | None:
        visit = await visit_of(request)
        return visit.page if visit else None

    async def counted() -> Any:
        with parts.streams.one(network):
            async for event in stream(look, parts.news):
                yield event

    # Proxies that hold an answer back or compress it would hold back what is live.
    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(counted(), 200, headers, EVENT_STREAM)


# --- the rest ---


async def healthz(request: Request) -> Response:
    """The process answers, and so does its database.

    Not whether the broker does: without it a buyer should see our page, and not a proxy's.
    """
    await parts_of(request).store(Store.version)
    return PlainTextResponse("ok\n")


async def no_such_page(request: Request, error: Exception) -> Response:
    """An address or a method that is not there."""
    return notice(request, getattr(error, "status_code", 404))


async def fault(request: Request, _: Exception) -> Response:
    """A fault of ours; the server logs it."""
    return notice(request, 500)
