"""The endpoint alone, for Django: `gunicorn -k gthread django_endpoint`.

It takes AWS's form and shows how things stand. Beside it `python -m landing.provisioning` hears of
late answers and calls your hook. What is in `landing` and imported here needs no framework. Your
project has settings and URLs of its own: copy the views and the middleware.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from landing import security
from landing.limits import Buckets
from landing.settings import Settings
from landing.store import Store
from landing.visits import of_token, page_of, surplus
from resolution_client import NotPublished, network_of
from resolution_client.blocking import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (
    "<!doctype html><html lang=en><title>{0}</title>"
    '<main data-state="{2}"><h1>{0}</h1><p>{1}</p>{3}</main>'
)
CODE = "<p>If you contact us, please mention this code: {}</p>"
WAIT_SECONDS = 2.0

resolver = Resolver.from_env()  # one for each process; the first call connects
buckets = Buckets()
database = Settings.from_env().database


@csrf_exempt  # the form comes from another site, so there is neither a cookie nor a CSRF token
@require_POST
@sensitive_post_parameters("x-amzn-marketplace-token")
def landing(request: HttpRequest) -> HttpResponse:
    """AWS's form, which the buyer's browser posts from AWS's page. No variable here holds it."""
    # Behind a proxy of yours take the address that it tells, or all buyers share one limit.
    network = network_of(request.META["REMOTE_ADDR"]) or ""
    if wait := buckets.seconds_to_wait(network, time.monotonic()):
        busy = show("busy", "Please wait a moment, and load this page again", status=429)
        busy["Retry-After"] = str(math.ceil(wait))
        return busy
    if int(request.META.get("CONTENT_LENGTH") or 0) > security.MOST_BODY_BYTES:
        return show("too-large", "That was too much to read", status=413)
    if request.content_type != security.FORM:
        return show("restart", "Please begin again at AWS Marketplace", status=415)
    try:
        answer = resolver.resolve_form(request.POST, wait=WAIT_SECONDS, source=network or None)
    except NotPublished:
        return show("try-again", "Please wait a moment, and load this page again", status=503)
    number, secret = security.new_number(), security.new_secret()
    with closing(Store(database)) as store:
        store.begin(number, security.digest(secret), answer, time.time())
    response = HttpResponseRedirect(f"/setup/{number}", status=303)
    give_cookie(response, number, secret)
    return response


@require_GET
def setup(request: HttpRequest, number: int) -> HttpResponse:
    """How things stand, for the browser that posted and no other.

    Where the state is `resolved`, show `page.customer` and a form of your own with a CSRF token.
    Open a session in the answer to that form and not here: so no stranger's token signs anybody in.
    `go_on` and `logout` in `landing/accounts.py` have what else is to be checked there.
    """
    secrets = security.setup_secrets(request.COOKIES)
    with closing(Store(database)) as store:
        found = store.setups([security.digest(each) for each in secrets.values()])
    mine = security.own_setups(found, secrets)
    same = of_token(mine, number)
    if not same:
        return show("nothing", "Nothing to show in this browser", status=404)
    page = page_of(same, None, time.time(), None)
    code = page.support_code if page.state in ("waiting", "contact") else ""
    response = show(page.state, page.headline, page.detail, code)
    if page.state == "waiting":
        response["Refresh"] = "5"
    for each in surplus(secrets, mine, same):
        give_cookie(response, each, "", seconds=0)
    return response


def give_cookie(
    response: HttpResponse, number: int, secret: str, seconds: int = security.COOKIE_SECONDS
) -> None:
    """Give the browser the secret of a set-up; for 0 seconds, take it away."""
    response.set_cookie(
        security.setup_cookie(number),
        secret,
        seconds,
        secure=True,
        httponly=True,
        samesite="Lax",
    )


def show(
    state: str, headline: str, detail: str = "", code: str = "", status: int = 200
) -> HttpResponse:
    """A page, for your template to replace."""
    named = format_html(CODE, code) if code else ""
    return HttpResponse(format_html(PAGE, headline, detail, state, named), status=status)


def with_headers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: nothing of these pages is stored, framed or told to others."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in security.HEADERS.items():
            response[name] = value
        return response

    return answer


urlpatterns = [path("landing", landing), path("setup/<int:number>", setup)]
settings.configure(
    ALLOWED_HOSTS=["*"],  # yours
    DATA_UPLOAD_MAX_MEMORY_SIZE=security.MOST_BODY_BYTES,
    DATA_UPLOAD_MAX_NUMBER_FIELDS=security.MOST_FIELDS,
    MIDDLEWARE=[f"{__name__}.with_headers"],
    ROOT_URLCONF=__name__,
)
application = get_wsgi_application()
