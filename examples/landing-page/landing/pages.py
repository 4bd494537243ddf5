"""What all views need: the parts they work with, and how a page is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse
from starlette.templating import Jinja2Templates

from landing import security, shop
from landing.store import Background, Store
from resolution_client import Resolver, network_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from landing.events import News
    from landing.limits import Buckets, Streams
    from landing.records import Customer

_NOTICES: Final = {
    400: "restart",
    404: "nothing",
    405: "nothing",
    408: "try-again",
    413: "too-large",
    415: "restart",
    429: "busy",
    503: "try-again",
}
_templates: Final = Jinja2Templates(Path(__file__).parents[1] / "templates")
_templates.env.globals |= {
    "shop": shop.NAME,
    "contact": shop.CONTACT,
    "product_name": shop.product_name,
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the views work with; one of each in a process."""

    store: Background
    resolver: Resolver
    news: News
    buckets: Buckets
    streams: Streams


def show(request: Request, name: str, status: int = 200, **more: Any) -> Response:
    """A page."""
    return _templates.TemplateResponse(request, f"{name}.html", more, status)


def notice(request: Request, status: int) -> Response:
    """A page that says why there is nothing else to show."""
    state = _NOTICES.get(status, "fault")
    return show(request, "notice", status, state=state)


def see_other(where: str) -> Response:
    """Go on there, with GET."""
    return RedirectResponse(where, 303)


def parts_of(request: Request) -> Parts:
    """What the lifespan has made."""
    parts: Parts = request.state.parts
    return parts


def client_network(request: Request) -> str:
    """The network of the browser, as an opaque word; empty if that is not known."""
    return (request.client and network_of(request.client.host)) or ""


async def signed_in(request: Request) -> Customer | None:
    """Who is signed in in this browser."""
    secret = request.cookies.get(security.SESSION, "")
    return await parts_of(request).store(Store.session, security.digest(secret))
