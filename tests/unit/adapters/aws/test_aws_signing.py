"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from worker.adapters.aws.direct import _host
from worker.adapters.aws.signing import Identity, Scope, Signer

TARGET = "AWSMPMeteringService.ResolveCustomer"
JSON_1_1 = "application/x-amz-json-1.1"
VISIBLE = st.text(string.ascii_letters + string.digits + "/+=_-.~:", min_size=1, max_size=60)
NAME = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
HOSTS = st.one_of(
    st.sampled_from(
        [
            "metering.marketplace.us-east-1.amazonaws.com",
            "METERING.Marketplace.eu-west-1.amazonaws.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "[2001:db8::A]",
        ]
    ),
    st.builds("{}.{}".format, NAME.map(lambda name: "h" + name), NAME.map(lambda name: "d" + name)),
)
URLS = st.builds(
    "{}://{}{}/".format,
    st.sampled_from(["http", "https"]),
    HOSTS,
    st.sampled_from(["", ":80", ":443", ":8085", ":1", ":65535"]),
)


def botocores(url: str, body: bytes, identity: Identity, scope: Scope) -> dict[str, str]:
    """What botocore signs, at the current time."""
    headers = {"X-Amz-Target": TARGET, "Content-Type": JSON_1_1}
    request = AWSRequest("POST", url, headers=headers, data=body)
    SigV4Auth(Credentials(*identity), scope.service, scope.region).add_auth(request)
    return dict(request.headers.items())


def ours(url: str, body: bytes, identity: Identity, scope: Scope, stamp: str) -> dict[str, str]:
    """What we sign at the same time."""
    headers = {"Host": _host(URL(url)), "X-Amz-Target": TARGET, "Content-Type": JSON_1_1}
    now = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Signer(headers, scope).sign(body, identity, now.timestamp())


@given(
    URLS,
    st.binary(max_size=300),
    st.builds(
        Identity, VISIBLE, VISIBLE, st.none() | st.just("") | VISIBLE | VISIBLE.map(" {} ".format)
    ),
    st.builds(Scope, VISIBLE, VISIBLE),
)
def test_signatures_are_botocores(url: str, body: bytes, identity: Identity, scope: Scope) -> None:
    """For any host, body, identity and region each signed header equals botocore's."""
    theirs = botocores(url, body, identity, scope)
    signed = ours(url, body, identity, scope, theirs["X-Amz-Date"])
    assert signed.pop("Host")
    assert signed == theirs


def test_a_signature_of_a_published_kind() -> None:
    """A known request at a known time has the signature that was computed by hand with openssl."""
    signer = Signer({"Host": "example.com"}, Scope("us-east-1", "service"))
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    signed = signer.sign(b"", Identity("AKID", "SECRET", None), now)
    assert signed["X-Amz-Date"] == "20260102T030405Z"
    assert signed["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature="
    )


@pytest.mark.parametrize("hour", [0, 23])
def test_the_key_changes_with_the_day(hour: int) -> None:
    """Signatures before and after midnight are scoped to their own days."""
    identity, scope = Identity("AKID", "SECRET", None), Scope("r", "s")
    signer = Signer({"Host": "h"}, scope)
    one, two = (
        signer.sign(b"", identity, datetime(2026, 1, day, hour, tzinfo=UTC).timestamp())
        for day in (2, 3)
    )
    assert "/20260102/" in one["Authorization"]
    assert "/20260103/" in two["Authorization"]
    assert one["Authorization"][-64:] != two["Authorization"][-64:]


def test_an_identity_hides_its_secrets() -> None:
    """Neither the secret key nor the session token shows when an identity is printed."""
    identity = Identity("AKID", "very-secret", "session-secret")
    assert "secret" not in f"{identity} {identity!r}"
    assert "AKID" in repr(identity)
