"""The endpoint alone, for Flask: `flask --app flask_endpoint run`.

It takes AWS's form and shows how things stand. Beside it `python -m landing.provisioning` hears of
late answers and calls your hook. What is in `landing` and imported here needs no framework.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import TYPE_CHECKING

from flask import Flask, Response, redirect, render_template_string, request

from landing import security
from landing.limits import Buckets
from landing.settings import Settings
from landing.store import Store
from landing.visits import of_token, page_of, surplus
from resolution_client import NotPublished, network_of
from resolution_client.blocking import Resolver

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as Answer

PAGE = (
    "<!doctype html><html lang=en><title>{{ headline }}</title>"
    '<main data-state="{{ state }}"><h1>{{ headline }}</h1><p>{{ detail }}</p>'
    "{% if code %}<p>If you contact us, please mention this code: {{ code }}</p>{% endif %}</main>"
)
WAIT_SECONDS = 2.0

app = application = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = security.MOST_BODY_BYTES  # more is answered with 413
app.config["MAX_FORM_PARTS"] = security.MOST_FIELDS
resolver = Resolver.from_env()  # one for each process; the first call connects
buckets = Buckets()
database = Settings.from_env().database


@app.post("/landing")  # with CSRFProtect: exempt it, for the form comes from another site
def landing() -> Answer:
    """AWS's form, which the buyer's browser posts from AWS's page. No variable here holds it."""
    # Behind a proxy of yours wrap the application in ProxyFix, or all buyers share one limit.
    network = network_of(request.remote_addr or "") or ""
    if wait := buckets.seconds_to_wait(network, time.monotonic()):
        busy = show("busy", "Please wait a moment, and load this page again", status=429)
        busy.headers["Retry-After"] = str(math.ceil(wait))
        return busy
    if request.mimetype != security.FORM:
        return show("restart", "Please begin again at AWS Marketplace", status=415)
    try:
        answer = resolver.resolve_form(request.form, wait=WAIT_SECONDS, source=network or None)
    except NotPublished:
        return show("try-again", "Please wait a moment, and load this page again", status=503)
    number, secret = security.new_number(), security.new_secret()
    with closing(Store(database)) as store:
        store.begin(number, security.digest(secret), answer, time.time())
    response = redirect(f"/setup/{number}", 303)
    give_cookie(response, number, secret)
    return response


@app.get("/setup/<int:number>")
def setup(number: int) -> Answer:
    """How things stand, for the browser that posted and no other.

    Where the state is `resolved`, show `page.customer` and a form of your own with a CSRF token.
    Open a session in the answer to that form and not here: so no stranger's token signs anybody in.
    `go_on` and `logout` in `landing/accounts.py` have what else is to be checked there.
    """
    secrets = security.setup_secrets(request.cookies)
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
        response.headers["Refresh"] = "5"
    for each in surplus(secrets, mine, same):
        give_cookie(response, each, "", seconds=0)
    return response


def give_cookie(
    response: Answer, number: int, secret: str, seconds: int = security.COOKIE_SECONDS
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
) -> Response:
    """A page, for your template to replace."""
    text = render_template_string(PAGE, state=state, headline=headline, detail=detail, code=code)
    return Response(text, status)


@app.after_request
def with_headers(response: Response) -> Response:
    """Nothing of these pages is stored, framed or told to others."""
    response.headers.update(security.HEADERS)
    return response
