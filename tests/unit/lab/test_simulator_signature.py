"""The simulator's check of Signature Version 4, against the SDK's own signer."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from worker.lab.simulator.signature import Request, SignatureError, fold, verify

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1:8085"
SECRET = "secret one"
SECRETS = {"AKIAONE": SECRET, "AKIATWO": "secret/two+"}
TARGET = "AWSMPMeteringService.ResolveCustomer"
BODY = b'{"RegistrationToken": "ok-1"}'


def signed(
    body: bytes = BODY,
    *,
    access_key: str = "AKIAONE",
    secret: str = SECRET,
    region: str = "us-east-1",
    service: str = "aws-marketplace",
    session: str | None = None,
    query: str = "",
    extra: dict[str, str] | None = None,
) -> Request:
    """A request as the SDK signs it."""
    headers = {"X-Amz-Target": TARGET, "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest(
        method="POST",
        url=f"http://{HOST}/{query}",
        data=body,
        headers=headers | (extra or {}),
    )
    SigV4Auth(Credentials(access_key, secret, session), service, region).add_auth(request)
    sent = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    return Request("POST", f"/{query}", fold([*sent, (b"Host", HOST.encode())]), body)


def signed_at(request: Request) -> float:
    """When the request says it was signed, in seconds since the epoch."""
    stamp = request.headers["x-amz-date"]
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def refusal(request: Request, now: float | None = None) -> SignatureError:
    """The error that refuses the request."""
    with pytest.raises(SignatureError) as caught:
        verify(request, SECRETS, signed_at(request) if now is None else now)
    return caught.value


def with_header(request: Request, name: str, value: str | None) -> Request:
    """The request with one header changed, or dropped, after signing."""
    headers = dict(request.headers)
    headers.pop(name, None)
    return request._replace(headers=headers if value is None else {**headers, name: value})


def edited(request: Request, old: str, new: str) -> Request:
    """The request with something in its Authorization header replaced."""
    header = request.headers["authorization"]
    assert old in header
    return with_header(request, "authorization", header.replace(old, new))


@given(
    body=st.binary(max_size=200),
    region=st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True),
    agent=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
    session=st.none() | st.text("ABCabc019/+=", min_size=1, max_size=80),
)
def test_what_the_sdk_signs_is_accepted(
    body: bytes, region: str, agent: str, session: str | None
) -> None:
    """Any body, region, header value or session token that the SDK signed is accepted."""
    request = signed(body, region=region, session=session, extra={"X-Amz-User-Agent": agent})

    assert verify(request, SECRETS, signed_at(request)) == "AKIAONE"


@given(body=st.binary(max_size=60), changed=st.binary(max_size=60))
def test_a_changed_body_is_refused(body: bytes, changed: bytes) -> None:
    """A body other than the one that was signed is refused, whatever it is."""
    request = signed(body)._replace(body=changed)

    if changed != body:
        assert refusal(request).code == "InvalidSignatureException"


def test_each_key_is_checked_against_its_own_secret() -> None:
    """A request is accepted from each known key with its secret, not with another's."""
    request = signed(access_key="AKIATWO", secret="secret/two+")

    assert verify(request, SECRETS, signed_at(request)) == "AKIATWO"
    assert (
        refusal(signed(access_key="AKIATWO", secret="secret one")).code
        == "InvalidSignatureException"
    )


def test_blanks_in_a_header_are_signed_as_one() -> None:
    """Runs of blanks in a header's value count as one, as the signing rules have it."""
    request = signed(extra={"X-Amz-Note": "a   b  c"})

    assert verify(request, SECRETS, signed_at(request)) == "AKIAONE"


def test_a_query_is_part_of_what_is_signed() -> None:
    """A signed query is accepted in any order of its parts, and refused when changed."""
    request = signed(query="?b=2&a=1%20x&c=")

    assert verify(request, SECRETS, signed_at(request)) == "AKIAONE"
    assert verify(request._replace(target="/?c=&a=1%20x&b=2"), SECRETS, signed_at(request))
    assert refusal(request._replace(target="/?b=3&a=1%20x&c=")).code == "InvalidSignatureException"


TAMPERINGS: dict[str, Callable[[Request], Request]] = {
    "method": lambda r: r._replace(method="PUT"),
    "path": lambda r: r._replace(target="/other"),
    "query": lambda r: r._replace(target="/?a=1"),
    "body": lambda r: r._replace(body=r.body + b" "),
    "host": lambda r: with_header(r, "host", "example.org"),
    "host dropped": lambda r: with_header(r, "host", None),
    "target": lambda r: with_header(r, "x-amz-target", "AWSMPMeteringService.MeterUsage"),
    "target dropped": lambda r: with_header(r, "x-amz-target", None),
    "content type": lambda r: with_header(r, "content-type", "text/plain"),
    "session": lambda r: with_header(r, "x-amz-security-token", "another"),
    "session dropped": lambda r: with_header(r, "x-amz-security-token", None),
    "header added": lambda r: with_header(r, "x-amz-extra", "1"),
    "target unsigned": lambda r: edited(r, ";x-amz-target", ""),
    "session unsigned": lambda r: edited(r, ";x-amz-security-token", ""),
    "host unsigned": lambda r: edited(r, "host;", ""),
    "region": lambda r: edited(r, "/us-east-1/", "/us-west-2/"),
    "service": lambda r: edited(r, "/aws-marketplace/", "/execute-api/"),
    "key": lambda r: edited(r, "AKIAONE", "AKIATWO"),
    "date": lambda r: with_header(r, "x-amz-date", _flipped(r.headers["x-amz-date"][:-1]) + "Z"),
    "signature": lambda r: with_header(r, "authorization", _flipped(r.headers["authorization"])),
}


def _flipped(digits: str) -> str:
    return digits[:-1] + ("1" if digits.endswith("0") else "0")


@pytest.mark.parametrize("part", TAMPERINGS)
def test_whatever_is_changed_after_signing_is_refused(part: str) -> None:
    """A change to any part of a signed request makes its signature invalid."""
    request = signed(session="a session token")
    verify(request, SECRETS, signed_at(request))

    assert refusal(TAMPERINGS[part](request), signed_at(request)).code == (
        "InvalidSignatureException"
    )


def test_the_body_is_hashed_whatever_a_header_says_of_it() -> None:
    """A signed header with the body's hash, or none, does not let another body in."""
    for said in ("UNSIGNED-PAYLOAD", hashlib.sha256(BODY).hexdigest()):
        request = signed(extra={"X-Amz-Content-SHA256": said})

        assert refusal(request._replace(body=b"{}")).code == "InvalidSignatureException"


def test_any_header_may_be_signed() -> None:
    """A client that signs what the SDK leaves out, such as its name, is accepted."""

    class OfEveryHeader(SigV4Auth):  # type: ignore[misc]  # the SDK ships no types
        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            signed = {name.lower(): value for name, value in request.headers.items()}
            return HTTPHeaders.from_dict({"host": HOST, **signed})

    request = AWSRequest("POST", f"http://{HOST}/", data=BODY, headers={"User-Agent": "curl/8"})
    OfEveryHeader(Credentials("AKIAONE", SECRET), "aws-marketplace", "us-east-1").add_auth(request)
    sent = fold((name.encode(), value.encode()) for name, value in request.headers.items())
    received = Request("POST", "/", {**sent, "host": HOST}, BODY)

    assert verify(received, SECRETS, signed_at(received)) == "AKIAONE"


@given(target=st.text(max_size=40))
@example("[")
@example("/\udcff")
def test_no_target_breaks_the_check(target: str) -> None:
    """Any target is refused or accepted in order, those too that can't be signed."""
    request = signed()._replace(target=target)

    with suppress(SignatureError):
        verify(request, SECRETS, signed_at(request))


def test_a_sound_signature_that_leaves_out_the_host_is_refused() -> None:
    """The host must be among the signed headers, or a request could be sent elsewhere."""

    class WithoutHost(SigV4Auth):  # type: ignore[misc]  # the SDK ships no types
        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            return HTTPHeaders.from_dict(dict(request.headers.items()))

    request = AWSRequest("POST", f"http://{HOST}/", data=BODY, headers={"X-Amz-Target": TARGET})
    WithoutHost(Credentials("AKIAONE", SECRET), "aws-marketplace", "us-east-1").add_auth(request)
    sent = fold((name.encode(), value.encode()) for name, value in request.headers.items())

    error = refusal(Request("POST", "/", {**sent, "host": HOST}, BODY))

    assert error.code == "InvalidSignatureException"
    assert "'Host'" in error.message


def test_a_wrong_secret_is_answered_in_the_words_of_aws() -> None:
    """A signature by another secret gets AWS's own message, which clients show to people."""
    error = refusal(signed(secret="wrong"))

    assert error.code == "InvalidSignatureException"
    assert error.message.startswith("The request signature we calculated does not match")


def test_an_unknown_key_is_an_unrecognized_client() -> None:
    """A key that nobody has is refused as such, before any signature is looked at."""
    error = refusal(signed(access_key="AKIANOBODY"))

    assert error.code == "UnrecognizedClientException"
    assert error.message == "The security token included in the request is invalid."


def test_another_services_scope_is_refused_by_name() -> None:
    """A credential scoped to another service is told which one this is."""
    error = refusal(signed(service="sts"))

    assert error.code == "InvalidSignatureException"
    assert "'aws-marketplace'" in error.message


def test_a_request_without_authorization_lacks_its_authentication_token() -> None:
    """An unsigned request is refused for its missing authentication."""
    error = refusal(with_header(signed(), "authorization", None))

    assert error.code == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("Basic abc", "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + "0" * 64, "'Credential'"),
        ("AWS4-HMAC-SHA256 Credential=a/20261122/r/s/aws4_request", "'Signature'"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "5 slash-delimited"),
    ],
)
def test_an_incomplete_authorization_says_what_is_missing(header: str, named: str) -> None:
    """An Authorization header that can't be read names the missing part."""
    error = refusal(with_header(signed(), "authorization", header))

    assert error.code == "IncompleteSignatureException"
    assert named in error.message


@pytest.mark.parametrize(
    ("late_s", "wording"), [(901, "Signature expired"), (-901, "Signature not yet current")]
)
def test_a_clock_off_by_more_than_a_quarter_of_an_hour_is_refused(
    late_s: float, wording: str
) -> None:
    """A request signed over 15 minutes ago, or ahead, is refused with both times."""
    request = signed()

    error = refusal(request, signed_at(request) + late_s)

    assert error.code == "InvalidSignatureException"
    assert wording in error.message
    assert request.headers["x-amz-date"] in error.message


@given(late_s=st.floats(-900, 900))
def test_a_clock_off_by_less_is_no_matter(late_s: float) -> None:
    """A request signed within 15 minutes of now is accepted."""
    request = signed()

    assert verify(request, SECRETS, signed_at(request) + late_s) == "AKIAONE"


@pytest.mark.parametrize(("date", "kind"), [(None, "Incomplete"), ("not a date", "Invalid")])
def test_a_request_must_be_dated(date: str | None, kind: str) -> None:
    """A request without a date, or with one outside its scope's day, is refused."""
    request = signed()

    error = refusal(with_header(request, "x-amz-date", date), signed_at(request))

    assert error.code == f"{kind}SignatureException"


def test_a_date_of_the_right_day_that_cannot_be_read_is_refused() -> None:
    """A date that only begins like one is refused as malformed."""
    request = signed()
    day = request.headers["x-amz-date"][:8]

    error = refusal(with_header(request, "x-amz-date", day + "T99"), signed_at(request))

    assert error.code == "IncompleteSignatureException"


@given(header=st.text(max_size=120))
def test_no_authorization_header_breaks_the_check(header: str) -> None:
    """Any text at all in the Authorization header are refused in order."""
    for value in (header, "AWS4-HMAC-SHA256 " + header):
        assert refusal(with_header(signed(), "authorization", value)).code


def test_headers_of_one_name_are_joined() -> None:
    """Headers that come twice are signed as one, whatever their case."""
    assert fold([(b"X-A", b"1"), (b"x-a", b"2"), (b"B", b"3")]) == {"x-a": "1,2", "b": "3"}
