"""The application: its routes, and what runs beside them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from landing import accounts, security, shop, views
from landing.edge import Outermost
from landing.events import News
from landing.limits import Buckets, Streams
from landing.pages import Parts
from landing.provisioning import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from landing.provisioning import Hook
    from landing.settings import Settings

STATIC: Final = Path(__file__).parents[1] / "static"


class SetupNumber(IntegerConvertor):
    """The number of a set-up in an address."""

    regex = security.NUMBER


register_url_convertor("setup", SetupNumber())


@dataclass(frozen=True, slots=True)
class Landing:
    """The landing page of one process.

    Attributes:
        app: What a server runs.
        news: To be closed when the process is about to end, so that no stream holds it up.
    """

    app: Outermost
    news: News


def landing_page(settings: Settings, hook: Hook = shop.provision) -> Landing:
    """Make it; nothing is opened yet."""
    news = News()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with running(settings.database, hook, news) as (store, resolver):
            parts = Parts(store, resolver, news, Buckets(), Streams())
            yield {"parts": parts}

    app = Starlette(
        routes=[
            Route("/landing", views.land, methods=["POST"]),
            Route("/landing", views.begin, methods=["GET"]),
            Route("/setup/{number:setup}", views.setup, methods=["GET"]),
            Route("/setup/{number:setup}/events", views.events, methods=["GET"]),
            Route("/setup/{number:setup}/continue", accounts.go_on, methods=["POST"]),
            Route("/welcome", accounts.welcome, methods=["GET"]),
            Route("/login", accounts.login, methods=["GET"]),
            Route("/logout", accounts.logout, methods=["POST"]),
            Route("/healthz", views.healthz, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HTTPException: views.no_such_page, Exception: views.fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Landing(Outermost(app), news)
