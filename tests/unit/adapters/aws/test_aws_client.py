"""Calls over real sockets: what each answer, fault and silence of AWS becomes."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.fakes.aws import CLOSE, HANG, RESET, Cut, Late, RawAws, Step, raw_aws, reply
from worker import __version__
from worker.adapters.aws import AwsMarketplace, Endpoint, credentials, open_marketplace
from worker.core import aws_causes
from worker.core.records import Answer, Fault, FaultKind, Status, Token
from worker.lab.simulator import server as simulator
from worker.lab.simulator.endpoint import Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

TOKEN = Token.of('ok-canary+/="\u00e9')
FULL = {
    "ProductCode": "p",
    "CustomerAWSAccountId": "012345678901",
    "CustomerIdentifier": "c",
    "LicenseArn": "arn:l",
    "Metadata": {"AgreementId": "a"},
}
ANSWER = Answer("p", "012345678901", "c", "arn:l", "a")


PLAIN = False


@pytest.fixture(autouse=True, params=["direct", pytest.param("plain", marks=pytest.mark.long)])
def each_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is asked of both ways to make a call."""
    monkeypatch.setitem(globals(), "PLAIN", request.param == "plain")


@pytest.fixture(autouse=True)
def seller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A seller with keys in the environment, and nothing else of this machine's."""
    for name in ("PROFILE", "SESSION_TOKEN", "CA_BUNDLE", "ENDPOINT_URL", "ROLE_ARN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "simulator")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "simulator")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def marketplace(
    url: str, *, timeout_seconds: float = 5.0, **changes: Any
) -> AbstractAsyncContextManager[AwsMarketplace]:
    """A client of that endpoint."""
    given = {
        "role_arn": None,
        "expected_account": None,
        "concurrency": 4,
        "plain_client": PLAIN,
        **changes,
    }
    return open_marketplace(Endpoint("eu-west-1", url, timeout_seconds=timeout_seconds, **given))


async def ask(url: str, **changes: Any) -> Answer | Fault:
    """One call."""
    async with marketplace(url, **changes) as client:
        return await client.resolve(TOKEN)


async def told(step: Step, **changes: Any) -> Answer | Fault:
    """What becomes of a call that is answered so."""
    async with raw_aws(step) as aws:
        return await ask(aws.url, **changes)


async def told_each(*steps: Step, **changes: Any) -> list[Answer | Fault]:
    """What becomes of calls of one client that are answered so, one after the other."""
    async with raw_aws(*steps) as aws, marketplace(aws.url, **changes) as client:
        return [await client.resolve(TOKEN) for _ in steps]


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# --- the request ---


async def test_a_request_is_the_protocols() -> None:
    """A call is a signed POST of JSON 1.1 that names the operation, the token and the worker."""
    async with raw_aws(reply(200, FULL)) as aws:
        assert await ask(aws.url) == ANSWER
        (request,) = aws.received
    assert request.line == "POST / HTTP/1.1"
    assert json.loads(request.body) == {"RegistrationToken": TOKEN.value}
    assert request.headers["x-amz-target"] == "AWSMPMeteringService.ResolveCustomer"
    assert request.headers["content-type"] == "application/x-amz-json-1.1"
    assert request.headers["host"] == aws.url.removeprefix("http://")
    assert request.headers["user-agent"].startswith(f"resolution-worker/{__version__}")
    assert "/eu-west-1/aws-marketplace/aws4_request" in request.headers["authorization"]
    assert "x-amz-security-token" not in request.headers


async def test_connections_are_used_again() -> None:
    """Many calls, one after the other, travel over one connection."""
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url) as client:
        for _ in range(20):
            assert await client.resolve(TOKEN) == ANSWER
        assert aws.connections == 1


async def test_a_session_token_is_sent_and_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary credentials travel with their session token among the signed headers."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session+/=")
    async with raw_aws(reply(200, FULL)) as aws:
        await ask(aws.url)
        (request,) = aws.received
    assert request.headers["x-amz-security-token"] == "session+/="
    assert "x-amz-security-token" in request.headers["authorization"]


# --- answers ---


async def test_a_success_is_read() -> None:
    """A success with usable JSON is an answer, whatever its content type says."""
    found = await told_each(
        reply(200, FULL),
        reply(200, FULL, Content_Type="text/plain"),
        reply(200, FULL, Content_Type="application/json; charset=latin-1"),
        reply(200, gzip.compress(json.dumps(FULL).encode()), Content_Encoding="gzip"),
        reply(201, FULL),
    )
    assert found == [ANSWER] * 5


async def test_a_success_of_no_use_passes() -> None:
    """A success that is no JSON object, or names nobody or nothing, is an unusable answer."""
    bodies = [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b"\xff",
        b"{}",
        b'{"ProductCode":1}',
    ]
    for body, found in zip(bodies, await told_each(*(reply(200, b) for b in bodies)), strict=True):
        assert isinstance(found, Fault), body
        assert (found.kind, found.code) == (FaultKind.TRANSIENT, "UnusableAnswer"), body


async def test_a_deeply_nested_success_passes() -> None:
    """An answer nested beyond all measure is unusable and brings nothing down."""
    found = await told(reply(200, b"[" * 200_000))
    assert isinstance(found, Fault)
    assert found.code == "UnusableAnswer"


@pytest.mark.parametrize(("size", "usable"), [(1024 * 1024, True), (1024 * 1024 + 1, False)])
async def test_an_answer_is_bounded(size: int, *, usable: bool) -> None:
    """An answer of 1 MiB is read, one byte more is not."""
    written = json.dumps(FULL).encode()
    found = await told(reply(200, written + b" " * (size - len(written))))
    if usable:
        assert found == ANSWER
    else:
        assert isinstance(found, Fault)
        assert found.code == "UnusableAnswer"


async def test_a_small_answer_that_unpacks_to_much_is_bounded() -> None:
    """Compression does not get around the bound."""
    bomb = gzip.compress(b" " * 50_000_000)
    found = await told(reply(200, bomb, Content_Encoding="gzip"))
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.TRANSIENT


async def test_a_call_after_an_oversized_answer_is_sound() -> None:
    """What was left unread of one answer never runs into the next."""
    big = reply(200, b" " * 3_000_000)
    async with raw_aws(big, reply(200, FULL)) as aws, marketplace(aws.url) as client:
        assert isinstance(await client.resolve(TOKEN), Fault)
        assert await client.resolve(TOKEN) == ANSWER


# --- errors ---


def error(code: str, message: str = "words", status: int = 400, **headers: str) -> bytes:
    """An error as AWS words it."""
    return reply(status, {"__type": code, "message": message}, **headers)


INVALID = Fault(FaultKind.TOKEN, "InvalidTokenException", "words", Status.REJECTED)


async def test_an_errors_code_is_found_in_all_its_spellings() -> None:
    """The code is read from the body, without namespace and URI."""
    found = await told_each(
        error("InvalidTokenException"),
        error("com.amazonaws.marketplacemetering#InvalidTokenException"),
        error("InvalidTokenException:http://internal.amazon.com/coral/com.amazon.coral.x/"),
        error("aws#InvalidTokenException:http://internal.amazon.com/x/#fragment"),
        reply(400, {"__type": "InvalidTokenException", "Message": "words", "other": [1]}),
    )
    assert found == [INVALID] * 5


@pytest.mark.parametrize("each_client", ["direct"], indirect=True)
async def test_an_errors_code_is_found_in_the_header_too() -> None:
    """Where the plain client reads the body alone, the header counts, and another spelling."""
    found = await told_each(
        error("ValidationException", x_amzn_ErrorType="InvalidTokenException:http://x/"),
        reply(400, {"code": "InvalidTokenException", "Message": "words"}),
    )
    assert found == [INVALID] * 2


ERRORS: list[tuple[bytes, str, FaultKind]] = [
    (reply(500, b""), "Http500", FaultKind.TRANSIENT),
    (reply(503, b"<html>busy</html>"), "Http503", FaultKind.TRANSIENT),
    (reply(429, b"{}"), "Http429", FaultKind.THROTTLED),
    (reply(403, b"[]"), "Http403", FaultKind.SYSTEMIC),
    (reply(401, {"message": "who?"}), "Http401", FaultKind.SYSTEMIC),
    (reply(400, {"__type": 7, "message": 7}), "Http400", FaultKind.TRANSIENT),
    (reply(400, {"__type": "", "message": None}), "Http400", FaultKind.TRANSIENT),
    (reply(400, {"__type": "#", "message": None}), "Http400", FaultKind.TRANSIENT),
    (reply(400, b"\xff\xfe"), "Http400", FaultKind.TRANSIENT),
    (error("ThrottlingException"), "ThrottlingException", FaultKind.THROTTLED),
    (error("AccessDeniedException"), "AccessDeniedException", FaultKind.SYSTEMIC),
    (error("InternalServiceErrorException", status=500),
     "InternalServiceErrorException", FaultKind.TRANSIENT),
    (error("ExpiredTokenException", "The security token included is expired"),
     "ExpiredTokenException", FaultKind.SYSTEMIC),
    (error("ExpiredTokenException", status=403), "ExpiredTokenException", FaultKind.SYSTEMIC),
    (error("ExpiredTokenException"), "ExpiredTokenException", FaultKind.TOKEN),
]  # fmt: skip


async def test_each_error_becomes_its_fault() -> None:
    """An error with or without a readable code is classified by code and status."""
    told_of = await told_each(*(step for step, _, _ in ERRORS))
    for (step, code, kind), found in zip(ERRORS, told_of, strict=True):
        assert isinstance(found, Fault), step
        assert (found.code, found.kind) == (code, kind), step
        assert found.message


async def test_a_redirect_is_not_followed() -> None:
    """A redirect never takes the token elsewhere: it passes as a fault."""
    statuses = [301, 302, 303, 307, 308]
    async with raw_aws(reply(200, FULL)) as elsewhere:
        steps = [reply(status, b"", Location=elsewhere.url) for status in statuses]
        found = await told_each(*steps)
        assert elsewhere.received == []
    codes = [(each.kind, each.code) for each in found if isinstance(each, Fault)]
    assert codes == [(FaultKind.TRANSIENT, f"Http{status}") for status in statuses]


async def test_no_fault_tells_the_token() -> None:
    """Faults of the network and of answers say what happened and never for which token."""
    steps: list[Step] = [
        RESET,
        CLOSE,
        HANG,
        b"\x00\x01",
        reply(200, TOKEN.value.encode()),
        reply(500, b""),
    ]
    found = await told_each(*steps, timeout_seconds=0.2)
    assert TOKEN.value not in repr(found)


# --- the network ---


async def test_a_broken_exchange_passes() -> None:
    """A connection that breaks or speaks no HTTP is a connection fault, or none in time."""
    found = await told_each(
        RESET,
        CLOSE,
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        reply(200, b"x" * 10, Content_Encoding="gzip"),
        timeout_seconds=0.3,
    )
    for each in found:
        assert isinstance(each, Fault)
        assert each.kind is FaultKind.TRANSIENT
        assert each.code in {"ConnectionFault", "Timeout"}


async def test_a_truncated_answer_passes() -> None:
    """An answer that ends before its announced length passes, though what came is sound JSON."""
    written = json.dumps(FULL).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(written) + 5}\r\n\r\n".encode()
    found = await told(Cut(head + written))
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.TRANSIENT, "ConnectionFault")


@pytest.mark.parametrize(
    "step",
    [HANG, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"],
    ids=["no answer", "no end of it"],
)
async def test_a_call_is_bounded_as_a_whole(step: Step) -> None:
    """Neither silence nor an answer without end takes longer than the time-out."""
    began = time.monotonic()
    found = await told(step, timeout_seconds=0.3)
    assert found == Fault(FaultKind.TRANSIENT, "Timeout", "no answer within 0.3 s")
    assert 0.3 <= time.monotonic() - began < 30


async def test_a_call_after_a_timeout_is_sound() -> None:
    """An answer that comes too late is never taken for the next call's."""
    late = Late(reply(200, FULL | {"ProductCode": "late"}), seconds=1.5)
    async with (
        raw_aws(late, reply(200, FULL)) as aws,
        marketplace(aws.url, timeout_seconds=1) as client,
    ):
        found = await client.resolve(TOKEN)
        assert isinstance(found, Fault)
        assert found.code == "Timeout"
        await asyncio.sleep(0.8)
        assert await client.resolve(TOKEN) == ANSWER


async def test_a_proxy_needs_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is found as botocore and the AWS CLI find it, by host and port alone too."""
    async with raw_aws(reply(200, FULL)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removeprefix("http://"))
        monkeypatch.setenv("NO_PROXY", "")
        assert await ask("http://nowhere.invalid") == ANSWER
        assert proxy.received[0].line == "POST http://nowhere.invalid/ HTTP/1.1"


# --- credentials ---


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups that failed are tried again at once: for tests about what they find."""
    monkeypatch.setattr(credentials, "again_in", lambda *_: 0.01)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


MALFORMED = {
    "simulator\n": "ends with a line break",
    "simulator\r\n": "ends with a line break",
    "simu\nlator": "contains a line break",
    " simulator": "contains white space",
    "simulator\x07": "contains a control character",
    "simul\u00e4tor": "contains a character that is not ASCII",
    "simul\udcfftor": "contains a character that is not ASCII",
}


@pytest.mark.parametrize("part", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
@pytest.mark.parametrize("role_arn", [None, "arn:aws:iam::1:role/x"])
@pytest.mark.sampled(3)
async def test_credentials_that_no_request_can_carry_are_our_fault(
    monkeypatch: pytest.MonkeyPatch, soon: None, part: str, role_arn: str | None
) -> None:
    """A line break or the like in credentials stops all calls, and the fault says in which part."""
    async with (
        raw_aws(reply(200, FULL)) as aws,
        raw_aws(ASSUMED) as sts,
        marketplace(aws.url, role_arn=role_arn) as client,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        for value, words in MALFORMED.items():
            monkeypatch.setenv(f"AWS_{part}", value)
            client.renew()
            assert len(client.identity()) == 16
            for found in (await client.resolve(TOKEN), await client.probe()):
                assert isinstance(found, Fault)
                assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "MalformedCredentials")
                assert f"(AWS_{part}) {words}" in found.message
                assert value.strip() not in found.message
                assert (
                    "remove the line break"
                    in aws_causes.of_systemic(found.code, found.message).remedy
                )
        assert aws.received == sts.received == []


async def test_no_credentials_are_our_fault(nobody: None) -> None:
    """Without credentials no call is made, and the fault is ours."""
    async with raw_aws(reply(200, FULL)) as aws:
        found = await ask(aws.url)
        assert aws.received == []
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "NoCredentialsError")


@pytest.mark.parametrize(
    "config",
    [
        "[default]\ncredential_process = /bin/echo nonsense\n",
        "[default]\ncredential_process = /bin/false\n",
        "[default]\ncredential_process = /nonexistent\n",
        "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = gone\n",
    ],
    ids=["no JSON", "fails", "not there", "no profile"],
)
async def test_credentials_that_can_not_be_had_are_our_fault(
    nobody: None, soon: None, tmp_path: Path, config: str
) -> None:
    """Whatever goes wrong in finding credentials is ours, and no token pays for it."""
    (tmp_path / "config").write_text(config)
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url) as client:
        for found in (await client.resolve(TOKEN), await client.probe()):
            assert isinstance(found, Fault)
            assert found.kind is FaultKind.SYSTEMIC
            assert found.message


def sts_reply(operation: str, result: str) -> bytes:
    """STS speaks XML."""
    said = f"<{operation}Result>{result}</{operation}Result>"
    spoken = f"<{operation}Response>{said}</{operation}Response>"
    return reply(200, spoken.encode(), Content_Type="text/xml")


WHOAMI = sts_reply("GetCallerIdentity", "<Account>111122223333</Account>")
_ROLE = (
    "<Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
)
ASSUMED = sts_reply("AssumeRole", _ROLE)


async def test_the_expected_account_is_confirmed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an expected account STS is asked once for these credentials, and calls go on."""
    async with raw_aws(WHOAMI) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, expected_account="111122223333") as client:
            for _ in range(3):
                assert await client.resolve(TOKEN) == ANSWER
        assert len(sts.received) == 1


async def test_another_account_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of another account than expected make no call, and say whose they are."""
    async with raw_aws(WHOAMI) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        found = await ask(aws.url, expected_account="999900001111")
        assert aws.received == []
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "WrongAccount")
    assert "111122223333" in found.message


async def test_an_identity_is_confirmed_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether we are the expected account is told without asking the metering service anything."""
    async with raw_aws(WHOAMI) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, expected_account="111122223333") as client:
            assert await client.check_identity() is None
        async with marketplace(aws.url, expected_account="999900001111") as client:
            wrong = await client.check_identity()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        async with marketplace(aws.url) as client:
            absent = await client.check_identity()
        assert aws.received == []
    assert wrong is not None
    assert absent is not None
    assert (wrong.kind, wrong.code) == (FaultKind.SYSTEMIC, "WrongAccount")
    assert absent.kind is FaultKind.SYSTEMIC


async def test_an_account_that_is_not_confirmed_is_asked_for_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """STS is not asked again at each call, but by a probe, which waits until it may be."""
    async with raw_aws(WHOAMI) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(
            aws.url, expected_account="999900001111", timeout_seconds=20
        ) as client:
            found = [await client.resolve(TOKEN) for _ in range(5)]
            assert len(sts.received) == 1
            await client.probe()
            assert len(sts.received) == 2
    assert {each.code for each in found if isinstance(each, Fault)} == {"WrongAccount"}
    assert aws.received == []


async def test_an_account_that_sts_does_not_tell_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While STS hangs, callers wait until their own deadline, for one and the same look-up."""
    async with raw_aws(HANG) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(
            aws.url, expected_account="111122223333", timeout_seconds=0.5
        ) as client:
            found: list[Answer | Fault | None] = [await client.probe()]
            await until(lambda: sts.received != [])
            found += [await client.resolve(TOKEN), await client.probe()]
        assert len(sts.received) == 1
    assert {each.code for each in found if isinstance(each, Fault)} == {"CredentialsTimeout"}
    assert len(found) == 3
    assert aws.received == []


async def test_the_account_is_compared_anew_after_a_rotation(
    monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    """Keys of another account stop calls though the old ones are still good: one word counts."""
    other = sts_reply("GetCallerIdentity", "<Account>999900001111</Account>")
    async with raw_aws(WHOAMI, other) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, expected_account="111122223333") as client:
            assert await client.resolve(TOKEN) == ANSWER
            known = client.identity()
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "others")
            for found in (await client.probe(), await client.resolve(TOKEN)):
                assert isinstance(found, Fault)
                assert found.code == "WrongAccount"
            assert client.identity() != known  # nobody else is stopped for it


async def test_mended_credentials_are_confirmed_at_once(
    monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    """A doubt about one key says nothing about the next one."""
    other = sts_reply("GetCallerIdentity", "<Account>999900001111</Account>")
    async with raw_aws(other, WHOAMI) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, expected_account="111122223333") as client:
            assert isinstance(await client.resolve(TOKEN), Fault)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mended")
            client.renew()
            assert await client.resolve(TOKEN) == ANSWER


async def test_a_call_survives_what_happens_to_credentials_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials that go while STS is asked about them let no call fail."""
    late = Late(WHOAMI, seconds=0.3)
    async with raw_aws(late) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, expected_account="111122223333") as client:
            task = asyncio.create_task(client.resolve(TOKEN))
            while not sts.received:  # noqa: ASYNC110 - the server has no event
                await asyncio.sleep(0.01)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mended\n")
            client.renew()
            assert await task == ANSWER


async def test_who_we_are_is_told_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is there at once, changes with the credentials, and is one's own while unknown."""
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url) as one:
        async with marketplace(aws.url) as other:
            assert one.identity() == one.identity() != other.identity()
            assert await other.check_identity() is None
            assert await one.check_identity() is None
            assert one.identity() == other.identity()
        first = one.identity()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")
        one.renew()
        assert one.identity() == first
        assert await one.probe() is None
        assert one.identity() != first


async def test_a_role_is_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that assume one role are one, before they know its keys and after."""
    async with raw_aws(ASSUMED) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace("http://127.0.0.1:9", role_arn="arn:aws:iam::1:role/x") as client:
            before = client.identity()
            assert await client.check_identity() is None
            assert client.identity() == before


async def test_a_role_is_assumed_and_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a role its temporary credentials sign the calls, assumed once for all of them."""
    async with raw_aws(ASSUMED) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        async with marketplace(aws.url, role_arn="arn:aws:iam::1:role/x") as client:
            for _ in range(3):
                assert await client.resolve(TOKEN) == ANSWER
        assert len(sts.received) == 1
        assert "Credential=ROLE/" in aws.received[0].headers["authorization"]
        assert aws.received[0].headers["x-amz-security-token"] == "t"


def helper(folder: Path, script: str) -> None:
    """Let a program give out the credentials."""
    program = folder / "helper.sh"
    program.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    program.chmod(0o700)
    (folder / "config").write_text(f"[default]\ncredential_process = {program}\n")


def giving(key: str, ends: str = "2099-01-01T00:00:00Z") -> str:
    """A line of that program which gives out this key."""
    given = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "Expiration": ends}
    return f"echo '{json.dumps(given)}'"


async def until(true: Callable[[], bool]) -> None:
    """Wait until that is so, ten seconds at most."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - programs have no events
            await asyncio.sleep(0.01)


def ending_in(seconds: float) -> str:
    """An instant so many seconds ahead, as AWS writes it."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%FT%TZ}"


DENIED = reply(
    403,
    b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
    Content_Type="text/xml",
)


@pytest.mark.parametrize("identity", [{"role_arn": "arn:aws:iam::1:role/x"},
                                      {"expected_account": "111122223333"}])  # fmt: skip
@pytest.mark.parametrize(
    "step",
    [DENIED, reply(500, b""), RESET, CLOSE, HANG],
    ids=["denied", "500", "reset", "closed", "hang"],
)
@pytest.mark.sampled(5)
async def test_an_sts_that_fails_is_our_fault(
    monkeypatch: pytest.MonkeyPatch, identity: dict[str, str], step: Step
) -> None:
    """If our identity can't be had from STS, for whatever reason, no token pays for it."""
    async with raw_aws(step) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        found = await ask(aws.url, timeout_seconds=1.0, **identity)
        assert aws.received == []
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.SYSTEMIC


async def test_a_slow_helper_is_started_once(tmp_path: Path, nobody: None) -> None:
    """A program slower than a call's bound is waited for behind it, and its result is used."""
    helper(tmp_path, f"echo >>runs; sleep 4; {giving('SLOW')}")
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url, timeout_seconds=2) as slow:
        found = await asyncio.gather(*(slow.resolve(TOKEN) for _ in range(5)), slow.probe())
        assert {each.code for each in found if isinstance(each, Fault)} == {"CredentialsTimeout"}
        assert await slow.check_identity() is None
        assert await slow.resolve(TOKEN) == ANSWER
        assert "Credential=SLOW/" in aws.received[0].headers["authorization"]
    assert (tmp_path / "runs").read_text() == "\n"


@pytest.mark.parametrize("closed", [False, True], ids=["at the bound", "at the end"])
@pytest.mark.parametrize("source", ["of its own", "of a role"])
async def test_a_helper_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nobody: None, source: str, *, closed: bool
) -> None:
    """Neither a program that hangs nor what it has started is left behind."""
    helper(tmp_path, "sleep 1000 & echo $! >pid; wait")
    if source == "of a role":
        role = "[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n"
        (tmp_path / "config").write_text((tmp_path / "config").read_text() + role)
        monkeypatch.setenv("AWS_PROFILE", "role")
    if not closed:
        monkeypatch.setattr(credentials, "LOOK_UP_SECONDS", 0.5)
    pid = tmp_path / "pid"
    async with marketplace("http://127.0.0.1:9", timeout_seconds=0.1) as client:
        assert isinstance(await client.resolve(TOKEN), Fault)
        await until(lambda: pid.exists() and pid.read_text() != "")
        if not closed:
            found = await client.check_identity()
            assert found is not None
            assert found.code == "CredentialsTimeout"
            assert "within 0.5 s" in found.message
    await until(lambda: not is_running(int(pid.read_text())))


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


# --- probes ---


async def test_a_probe_looks_credentials_up_anew(
    monkeypatch: pytest.MonkeyPatch, nobody: None, soon: None
) -> None:
    """Credentials that were mended meanwhile are found by the next probe, without a restart."""
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url) as client:
        found = await client.probe()
        assert isinstance(found, Fault)
        assert found.code == "NoCredentialsError"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mended")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        assert await client.probe() is None
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")
        await client.resolve(TOKEN)
        await client.probe()
        keys = [each.headers["authorization"].split("=")[1].split("/")[0] for each in aws.received]
    assert keys == ["mended", "mended", "rotated"]


@pytest.mark.parametrize("step", [RESET, reply(500, b"")], ids=["reset", "500"])
@pytest.mark.sampled(2)
async def test_credentials_that_hold_are_kept_where_new_ones_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch, soon: None, step: Step
) -> None:
    """A probe while STS is down goes on with the role's credentials, which are valid still."""
    async with raw_aws(ASSUMED, step) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        role = "arn:aws:iam::1:role/x"
        async with marketplace(aws.url, role_arn=role, timeout_seconds=6) as client:
            assert await client.resolve(TOKEN) == ANSWER
            for _ in range(2):
                assert await client.probe() is None
                assert await client.resolve(TOKEN) == ANSWER
            assert len(sts.received) > 1
            sts.answer(sts_reply("AssumeRole", _ROLE.replace("ROLE", "NEXT")))
            async with asyncio.timeout(20):
                while "Credential=NEXT/" not in aws.received[-1].headers["authorization"]:
                    assert await client.probe() is None


async def test_credentials_that_hold_for_minutes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes will do, whatever botocore thinks; they are not even looked up twice."""
    assumed = sts_reply("AssumeRole", _ROLE.replace("2099-01-01T00:00:00Z", ending_in(5 * 60)))
    async with raw_aws(assumed, DENIED) as sts, raw_aws(reply(200, FULL)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        role = "arn:aws:iam::1:role/x"
        async with marketplace(aws.url, role_arn=role, timeout_seconds=20) as client:
            for _ in range(3):
                assert await client.resolve(TOKEN) == ANSWER
            assert len(sts.received) == 1
            assert await client.probe() is None
            assert len(sts.received) == 2


async def test_credentials_that_have_ended_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nobody: None
) -> None:
    """A helper that gives out what is over is asked once, and the fault says when that was."""
    helper(tmp_path, f"echo >>runs; {giving('OLD', ending_in(-5))}")
    async with raw_aws(reply(200, FULL)) as aws:
        found = await ask(aws.url)
        assert aws.received == []
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "ExpiredCredentials")
    assert f"{datetime.now(UTC):%Y-%m-%dT}" in found.message
    assert "clock" in aws_causes.of_systemic(found.code, found.message).remedy
    assert (tmp_path / "runs").read_text() == "\n"


async def test_a_refusal_of_old_credentials_tells_why_there_are_no_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where AWS refuses what is held, and the look-up for others fails, that is what to mend."""
    refused = error("UnrecognizedClientException")
    async with (
        raw_aws(reply(200, FULL), refused) as aws,
        marketplace(aws.url, timeout_seconds=20) as client,
    ):
        assert await client.resolve(TOKEN) == ANSWER
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mended\n")
        found = await client.probe()
    assert found is not None
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "MalformedCredentials")


async def test_a_probe_never_raises() -> None:
    """What nobody foresaw, here a client that is closed, is a fault of ours by its own name."""
    async with marketplace("http://127.0.0.1:9", timeout_seconds=0.2) as client:
        assert await client.check_identity() is None
    found = await client.probe()
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.SYSTEMIC, "UnforeseenError")
    assert "RuntimeError" in found.message
    assert "defect of the worker" in aws_causes.of_systemic(found.code, found.message).remedy


PROBES: list[tuple[Step, bool]] = [
    (error("InvalidTokenException"), True),
    (error("ThrottlingException"), True),
    (reply(200, FULL), True),
    (error("AccessDeniedException"), False),
    (error("ExpiredTokenException", status=403), False),
    (reply(500, b""), False),
    (RESET, False),
    (HANG, False),
]


async def test_a_probe_is_over_only_when_aws_accepts_us() -> None:
    """Only an answer that shows our identity accepted ends the pause; no answer shows nothing."""
    steps = [step for step, _ in PROBES]
    async with raw_aws(*steps) as aws, marketplace(aws.url, timeout_seconds=2) as client:
        assert [await client.probe() is None for _ in steps] == [over for _, over in PROBES]


async def test_a_probe_spends_no_buyers_token() -> None:
    """A probe calls for a token that nobody bought anything with."""
    async with raw_aws(error("InvalidTokenException")) as aws, marketplace(aws.url) as client:
        await client.probe()
        assert json.loads(aws.received[0].body) == {"RegistrationToken": "resolution-worker-probe"}


# --- against the stand-in, which verifies for itself ---


KINDS = {
    "ok-1": None,
    "new-1": None,
    "old-1": None,
    "invalid-1": "InvalidTokenException",
    "expired-1": "ExpiredTokenException",
    "throttle-1-x": "ThrottlingException",
    "fail-1-x": "InternalServiceErrorException",
    "garbage-1": "UnusableAnswer",
    "empty-1": "UnusableAnswer",
    "denied-1": "AccessDeniedException",
    "hang-1": "Timeout",
    "seller-simulator-1": None,
    "seller-other-1": "InvalidTokenException",
}


@asynccontextmanager
async def simulated() -> AsyncIterator[str]:
    """The address of a simulator, which verifies signatures for itself."""
    options = Options({"simulator": "simulator"})
    runner = web.ServerRunner(simulator._server(options), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_simulator_is_understood() -> None:
    """Each kind of token of the simulator is told for what it is."""
    async with simulated() as url, marketplace(url, timeout_seconds=3.0) as client:
        found = {kind: await client.resolve(Token.of(kind)) for kind in KINDS}
    codes = {kind: one.code if isinstance(one, Fault) else None for kind, one in found.items()}
    assert codes == KINDS


async def test_a_wrong_secret_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that the endpoint refuses is a systemic fault."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with simulated() as url:
        found = await ask(url)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.SYSTEMIC


def received(aws: RawAws) -> list[str]:
    """Which tokens were asked for."""
    return [json.loads(each.body)["RegistrationToken"] for each in aws.received]


async def test_calls_side_by_side_keep_apart() -> None:
    """Calls in flight at once each get their own answer."""
    async with raw_aws(reply(200, FULL)) as aws, marketplace(aws.url) as client:
        tokens = [Token.of(f"t{number}") for number in range(30)]
        answers = await asyncio.gather(*(client.resolve(token) for token in tokens))
        assert answers == [ANSWER] * 30
        assert sorted(received(aws)) == sorted(token.value for token in tokens)
