"""Verification of AWS Signature Version 4: the request is signed once more, by botocore's signer.

The wording of the refusals is AWS's own, so that a client's handling of them is tested too.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import ReadOnlyCredentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE: Final = "aws-marketplace"
SKEW_S: Final = 15 * 60

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +"
    r"Credential=([^\s,]+)/([0-9]{8})/([^\s,/]+)/([^\s,/]+)/aws4_request, *"
    r"SignedHeaders=([^\s,]+), *"
    r"Signature=([0-9a-f]{64})"
)
_PARTS: Final = ("Credential", "Signature", "SignedHeaders")
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details."
)


class Request(NamedTuple):
    """An HTTP request as received.

    Attributes:
        method: The method, upper case.
        target: Path and query as sent, still escaped.
        headers: Values by lower-case name, as `fold` makes them.
        body: The body's bytes.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def fold(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; those of one name joined by commas, as signing wants them."""
    folded: dict[str, str] = {}
    for raw in headers:
        name, value = (part.decode("utf-8", "replace") for part in raw)
        name = name.lower()
        folded[name] = f"{folded[name]},{value}" if name in folded else value
    return folded


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
    access_key: str
    day: str
    region: str
    service: str
    signed: list[str]
    signature: str


def verify(request: Request, secrets: Mapping[str, str], now: float) -> str:
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
    _check_coverage(request.headers, claim.signed)
    try:
        signature = _signature(request, claim, secret, stamp)
    except ValueError:  # a target or a header that nobody can have signed
        raise _invalid(_MISMATCH) from None
    if not hmac.compare_digest(signature, claim.signature):
        raise _invalid(_MISMATCH)
    return claim.access_key


def _invalid(message: str) -> SignatureError:
    return SignatureError("InvalidSignatureException", message)


def _incomplete(message: str) -> SignatureError:
    return SignatureError("IncompleteSignatureException", message)


def _claim(headers: Mapping[str, str]) -> _Authorization:
    header = headers.get("authorization")
    if header is None:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(header)
    if found is None:
        raise _incomplete(_what_is_missing(header))
    access_key, day, region, service, signed, signature = found.groups()
    return _Authorization(access_key, day, region, service, signed.split(";"), signature)


def _what_is_missing(header: str) -> str:
    if not header.startswith("AWS4-HMAC-SHA256 "):
        return "Authorization header requires the algorithm 'AWS4-HMAC-SHA256'."
    absent = [part for part in _PARTS if f"{part}=" not in header]
    if absent:
        return " ".join(f"Authorization header requires '{part}' parameter." for part in absent)
    return (
        "Authorization header is malformed: Credential must have exactly 5 slash-delimited "
        "elements, keyid/date/region/service/aws4_request, and Signature 64 hexadecimal digits."
    )


def _check_scope(headers: Mapping[str, str], claim: _Authorization) -> str:
    if claim.service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'. ")
    stamp = headers.get("x-amz-date", "")
    if not stamp:
        raise _incomplete("Authorization header requires existence of an 'X-Amz-Date' header.")
    if stamp[:8] != claim.day:
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{claim.day}' != '{stamp[:8]}', from '{stamp}'."
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


def _check_coverage(headers: Mapping[str, str], signed: list[str]) -> None:
    if "host" not in signed:
        message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        raise _invalid(message)
    for name in headers:
        if name.startswith("x-amz-") and name not in signed:
            message = f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
            raise _invalid(message)


class _Signer(SigV4Auth):  # type: ignore[misc]  # botocore ships no types
    """botocore's signer, over just those headers that the request says were signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.context["headers"]


def _signature(request: Request, claim: _Authorization, secret: str, stamp: str) -> str:
    """The signature that the request should bear.

    Raises:
        ValueError: The request holds what can't be signed.
    """
    signer = _Signer(ReadOnlyCredentials(claim.access_key, secret, None), SERVICE, claim.region)
    # Without headers: a hash of the body that one of them gives is not taken on trust.
    received = AWSRequest(request.method, f"http://localhost{request.target}", data=request.body)
    headers = HTTPHeaders.from_pairs((name, request.headers.get(name, "")) for name in claim.signed)
    received.context.update(timestamp=stamp, headers=headers)
    to_sign = signer.string_to_sign(received, signer.canonical_request(received))
    return str(signer.signature(to_sign, received))
