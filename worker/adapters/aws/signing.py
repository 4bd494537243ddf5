"""AWS Signature Version 4 for one kind of request: a POST of JSON to `/`.

botocore's own signer serves kinds of requests that this API never has (queries, paths, streams),
and begins anew for each. Here only what depends on the body is made for each request. The tests
compare this one with botocore's, byte for byte.

Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Identity(NamedTuple):
    """Credentials at one instant. The secret and the session token must not be logged."""

    access_key: str
    secret_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return f"<identity {self.access_key}>"


class Scope(NamedTuple):
    """What a signature is valid for, besides its day."""

    region: str
    service: str


class _Stamped(NamedTuple):
    """What all signatures of one identity within one second have in common."""

    identity: Identity
    second: int
    headers: dict[str, str]
    request: bytes
    to_sign: bytes
    key: bytes
    authorization: str


class Signer:
    """Signs requests that differ in body, identity and time alone.

    Args:
        headers: The headers to send and sign, including `Host`; without `User-Agent`, which
            proxies may change.
        scope: Region and signing name of the service.
    """

    def __init__(self, headers: Mapping[str, str], scope: Scope) -> None:
        self._headers = dict(headers)
        self._scope = scope
        self._stamped: _Stamped | None = None

    def sign(self, body: bytes, identity: Identity, now: float) -> dict[str, str]:
        """The headers of a signed request.

        Args:
            body: The whole body.
            identity: The credentials to sign with.
            now: The current time, in seconds since the epoch.

        Returns:
            The headers given, with `X-Amz-Date`, `Authorization` and, for temporary credentials,
            `X-Amz-Security-Token`.
        """
        stamped = self._stamped
        if stamped is None or stamped.second != int(now) or stamped.identity is not identity:
            stamped = self._stamped = self._stamp(identity, int(now))
        request = hashlib.sha256(stamped.request + _hex_digest(body))
        signature = hmac.digest(
            stamped.key, stamped.to_sign + request.hexdigest().encode(), hashlib.sha256
        )
        headers = stamped.headers.copy()
        headers["Authorization"] = stamped.authorization + signature.hex()
        return headers

    def _stamp(self, identity: Identity, second: int) -> _Stamped:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        signed = {**self._headers, "X-Amz-Date": stamp}
        if identity.session_token:
            signed["X-Amz-Security-Token"] = identity.session_token
        canonical = sorted((name.lower(), value.strip()) for name, value in signed.items())
        names = ";".join(name for name, _ in canonical)
        lines = "".join(f"{name}:{value}\n" for name, value in canonical)
        scope = f"{stamp[:8]}/{self._scope.region}/{self._scope.service}/aws4_request"
        return _Stamped(
            identity,
            second,
            signed,
            f"POST\n/\n\n{lines}\n{names}\n".encode(),
            f"{_ALGORITHM}\n{stamp}\n{scope}\n".encode(),
            _signing_key(identity.secret_key, stamp[:8], self._scope),
            f"{_ALGORITHM} Credential={identity.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature=",
        )


def _hex_digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, scope: Scope) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
