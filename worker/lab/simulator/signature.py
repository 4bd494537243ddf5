"""Verification of AWS Signature Version 4, from the request as it came over the wire.

The rules are those of AWS's reference "Create a signed AWS API request"; the wording of the
refusals is AWS's own, so that a client's handling of them is tested too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.lab.simulator.canonical import canonical_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.lab.simulator.canonical import Request

SERVICE: Final = b"aws-marketplace"
SKEW_S: Final = 15 * 60

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION: Final = re.compile(
    rb"AWS4-HMAC-SHA256 +"
    rb"Credential=([^\s,]+)/([0-9]{8})/([^\s,/]+)/([^\s,/]+)/aws4_request, *"
    rb"SignedHeaders=([^\s,]+), *"
    rb"Signature=([0-9a-f]{64})"
)
_PARTS: Final = (b"Credential", b"Signature", b"SignedHeaders")


class SignatureError(Exception):
    """A request that AWS would not have let in.

    Attributes:
        code: AWS's error code.
        message: AWS's message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class _Authorization(NamedTuple):
    access_key: bytes
    day: bytes
    region: bytes
    service: bytes
    signed: bytes
    signature: bytes


def verify(request: Request, secrets: Mapping[bytes, bytes], now: float) -> str:
    """The access key that signed the request.

    Args:
        request: The request.
        secrets: Secret keys by access key.
        now: Seconds since the epoch.

    Raises:
        SignatureError: It is not signed, or not by one of these keys, or was changed since.
    """
    claim = _claim(request.headers)
    secret = secrets.get(claim.access_key)
    if secret is None:
        message = "The security token included in the request is invalid."
        raise SignatureError("UnrecognizedClientException", message)
    stamp = _check_scope(request.headers, claim)
    _check_age(stamp, now)
    _check_coverage(request.headers, claim.signed.split(b";"))
    if not hmac.compare_digest(_signature(request, claim, secret, stamp), claim.signature):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        )
    return claim.access_key.decode()


def _invalid(message: str) -> SignatureError:
    return SignatureError("InvalidSignatureException", message)


def _incomplete(message: str) -> SignatureError:
    return SignatureError("IncompleteSignatureException", message)


def _claim(headers: Mapping[bytes, bytes]) -> _Authorization:
    header = headers.get(b"authorization")
    if header is None:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(header)
    if found is None:
        raise _incomplete(_what_is_missing(header))
    return _Authorization(*found.groups())


def _what_is_missing(header: bytes) -> str:
    if not header.startswith(b"AWS4-HMAC-SHA256 "):
        return "Authorization header requires the algorithm 'AWS4-HMAC-SHA256'."
    absent = [part.decode() for part in _PARTS if part + b"=" not in header]
    if absent:
        return " ".join(f"Authorization header requires '{part}' parameter." for part in absent)
    return (
        "Authorization header is malformed: Credential must have exactly 5 slash-delimited "
        "elements, keyid/date/region/service/aws4_request, and Signature 64 hexadecimal digits."
    )


def _check_scope(headers: Mapping[bytes, bytes], claim: _Authorization) -> str:
    if claim.service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE.decode()}'. ")
    stamp = headers.get(b"x-amz-date", b"").decode("ascii", "replace")
    if not stamp:
        raise _incomplete("Authorization header requires existence of an 'X-Amz-Date' header.")
    day = claim.day.decode()
    if stamp[:8] != day:
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{day}' != '{stamp[:8]}', from '{stamp}'."
        )
    return stamp


@lru_cache(maxsize=1024)
def _epoch(stamp: str) -> float:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()


def _stamp(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime(_STAMP)


def _check_age(stamp: str, now: float) -> None:
    try:
        age = now - _epoch(stamp)
    except ValueError:
        message = f"Date must be in ISO-8601 'basic format'. Got '{stamp}'."
        raise _incomplete(message) from None
    if age > SKEW_S:
        bound, seen = _stamp(now - SKEW_S), _stamp(now)
        message = f"Signature expired: {stamp} is now earlier than {bound} ({seen} - 15 min.)"
        raise _invalid(message)
    if age < -SKEW_S:
        bound, seen = _stamp(now + SKEW_S), _stamp(now)
        message = f"Signature not yet current: {stamp} is still later than {bound}"
        raise _invalid(f"{message} ({seen} + 15 min.)")


def _check_coverage(headers: Mapping[bytes, bytes], signed: list[bytes]) -> None:
    if b"host" not in signed:
        message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        raise _invalid(message)
    for name in headers:
        if name.startswith(b"x-amz-") and name not in signed:
            message = f"'{name.decode('ascii', 'replace')}' must be a 'SignedHeader'"
            raise _invalid(f"{message} in the AWS Authorization.")


def _signature(request: Request, claim: _Authorization, secret: bytes, stamp: str) -> bytes:
    digest = hashlib.sha256(canonical_form(request, sorted(claim.signed.split(b";")))).hexdigest()
    to_sign = b"AWS4-HMAC-SHA256\n%b\n%b/%b/%b/aws4_request\n%b" % (
        stamp.encode(),
        claim.day,
        claim.region,
        claim.service,
        digest.encode(),
    )
    key = signing_key(secret, claim.day, claim.region)
    return hmac.digest(key, to_sign, "sha256").hex().encode()


@lru_cache(maxsize=1024)
def signing_key(secret: bytes, day: bytes, region: bytes) -> bytes:
    """The key that signs a day's requests (`day` as YYYYMMDD) to this service in a region."""
    key = b"AWS4" + secret
    for part in (day, region, SERVICE, b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key
