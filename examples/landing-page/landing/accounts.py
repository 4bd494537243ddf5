"""Signing in, and what stands in for the shop's own pages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from landing import security
from landing.edge import Refused, drop_cookie, read_form, set_cookie
from landing.pages import notice, parts_of, see_other, show, signed_in
from landing.store import Store
from landing.views import setups_of, visit_of
from landing.visits import of_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def go_on(request: Request) -> Response:
    """The buyer has pressed the button: this browser is signed in for the agreement."""
    parts, number = parts_of(request), request.path_params["number"]
    visit = await visit_of(request)
    if visit is None:
        return notice(request, 404)
    try:
        if not security.has_key(await read_form(request), visit.secret):
            return notice(request, 404)
    except Refused as refused:
        return notice(request, refused.status)
    if visit.page.state != "resolved" or visit.page.customer is None:
        return see_other(f"/setup/{number}")
    if old := request.cookies.get(security.SESSION):
        await parts.store(Store.sign_out, security.digest(old))
    secret = security.new_secret()  # never one that the browser brought
    hidden, customer = security.digest(secret), visit.page.customer
    await parts.store(Store.sign_in, hidden, customer, number, time.time())
    response = see_other("/welcome")
    set_cookie(response, security.SESSION, secret)
    return response


async def welcome(request: Request) -> Response:
    """The first page of a new customer."""
    customer = await signed_in(request)
    if customer is None:
        return see_other("/login")
    ready = await parts_of(request).store(Store.is_provisioned, customer.agreement_key)
    key = security.form_key(request.cookies[security.SESSION])
    return show(request, "welcome", customer=customer, ready=ready, session_key=key)


async def login(request: Request) -> Response:
    """Where customers log in who have an account."""
    return show(request, "login")


async def logout(request: Request) -> Response:
    """End the session, and let no set-up of this browser open it again.

    Except the one from whose page the buyer logs out, to go on with it, and others of its token:
    the answer that lets this browser on may be theirs.
    """
    secret = request.cookies.get(security.SESSION, "")
    try:
        form = await read_form(request)
    except Refused as refused:
        return notice(request, refused.status)
    if not secret or not security.has_key(form, secret):
        return notice(request, 404)
    store, chosen = parts_of(request).store, form.get("setup", [""])[0]
    secrets, mine = await setups_of(request)
    number = next((each.number for each in mine if str(each.number) == chosen), -1)
    kept = {each.number for each in of_token(mine, number)}
    ended = {number: each for number, each in secrets.items() if number not in kept}
    await store(Store.sign_out, security.digest(secret))
    await store(Store.forget, [security.digest(each) for each in ended.values()])
    response = see_other(f"/setup/{number}" if kept else "/login")
    for name in (security.SESSION, *map(security.setup_cookie, ended)):
        drop_cookie(response, name)
    return response
