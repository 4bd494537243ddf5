"""Secrets, form keys, the headers of all answers, and the bounds of what is read."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from landing.records import Setup

MOST_BODY_BYTES: Final = 16 * 1024
MOST_FIELDS: Final = 50
FORM: Final = "application/x-www-form-urlencoded"
COOKIE_SECONDS: Final = 30 * 24 * 3600
SESSION: Final = "__Host-session"
_SETUP: Final = "__Host-landing-"
_DIGITS: Final = 15
NUMBER: Final = f"[0-9]{{1,{_DIGITS}}}"
"""The numbers of set-ups, as a pattern; Python itself refuses to read very long ones."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def new_number() -> int:
    """A number for the address of a set-up. It is no secret: it opens nothing."""
    return secrets.randbelow(10**_DIGITS)


def digest(secret: str) -> str:
    """What is stored of a secret: a copy of the database opens nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def form_key(secret: str) -> str:
    """What a form must carry that is posted with the cookie of this secret.

    Another site can send the form but can't know the key, since it can't read the page. The header
    `Origin` would not do: under `Referrer-Policy: no-referrer` browsers send `null` in it.
    """
    return hmac.new(secret.encode(), b"form key", hashlib.sha256).hexdigest()


def has_key(form: Mapping[str, list[str]], secret: str) -> bool:
    """Whether a form has the key that belongs to this secret."""
    given = form.get("key", [""])[0]
    return hmac.compare_digest(given.encode(errors="replace"), form_key(secret).encode())


def setup_cookie(number: int) -> str:
    """The name of the cookie that belongs to a set-up."""
    return f"{_SETUP}{number}"


def setup_secrets(cookies: Mapping[str, str]) -> dict[int, str]:
    """The secrets of the set-ups that this browser has, by their numbers."""
    return {
        int(found[1]): value
        for name, value in cookies.items()
        if (found := re.fullmatch(f"{_SETUP}({NUMBER})", name))
    }


def own_setups(found: Sequence[Setup], secrets_: Mapping[int, str]) -> list[Setup]:
    """Those of the set-ups for whose very number the browser has the secret."""
    return [each for each in found if digest(secrets_.get(each.number, "")) == each.secret_sha256]
