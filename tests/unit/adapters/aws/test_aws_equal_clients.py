"""Requests and results are those of aiobotocore's client as anybody makes it."""

from __future__ import annotations

import math
import re
import string
from typing import TYPE_CHECKING

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError

from tests.fakes.aws import raw_aws, reply
from worker import __version__
from worker.adapters.aws import Endpoint, open_marketplace
from worker.core import aws_errors
from worker.core.records import Answer, Fault, Token
from worker.lab.simulator.grammar import _RULES, answer

if TYPE_CHECKING:
    from tests.fakes.aws import Received

# Each word of the simulator's grammar that answers, at the first call and at a later one.
ANSWERED = [
    (word, nth, said)
    for word in _RULES
    for nth in (1, 3)
    if (said := answer(f"{word}-1-x", nth, "AKID")).delay_s != math.inf
]
TOKENS = [
    "ok-1",
    string.printable.strip(),
    "\u00e9\u20ac\U0001f511\u2028",
    'quo"te\\back/slash',
    "x" * 8_192,
]
CREDENTIALS = [("AKID", "secret", None), ("ASIA", "sec/ret+=", "session+/=token")]


@pytest.fixture(autouse=True)
def seller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own set-up."""
    for name in ("PROFILE", "SESSION_TOKEN", "CA_BUNDLE", "ENDPOINT_URL", "ROLE_ARN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


async def by_ours(url: str, tokens: list[str], *, plain: bool) -> list[Answer | Fault]:
    """What the worker's client makes of each token."""
    endpoint = Endpoint("eu-west-1", url, None, None, 5.0, 4, plain_client=plain)
    async with open_marketplace(endpoint) as client:
        return [await client.resolve(Token.of(token)) for token in tokens]


async def by_aiobotocore(
    url: str, tokens: list[str], access_key: str, secret_key: str, session_token: str | None
) -> list[Answer | Fault]:
    """What a client as the library's documentation makes it gets, read like any other answer."""
    config = AioConfig(
        retries={"total_max_attempts": 1}, user_agent=f"resolution-worker/{__version__}"
    )
    found: list[Answer | Fault] = []
    async with AioSession().create_client(
        "meteringmarketplace",
        region_name="eu-west-1",
        endpoint_url=url,
        config=config,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
    ) as client:
        for token in tokens:
            try:
                said = await client.resolve_customer(RegistrationToken=token)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                told = error.response["Error"]
                found.append(
                    aws_errors.classify(
                        aws_errors.ServiceError(status, told["Code"], told["Message"])
                    )
                )
            else:
                found.append(aws_errors.read_answer(said))
    return found


def comparable(request: Received) -> tuple[str, dict[str, str], bytes]:
    """A request without what differs by its nature: time, signature and the call's own number."""
    headers = dict(request.headers)
    headers["authorization"] = re.sub(r"(Signature=)\w{64}$", r"\1", headers["authorization"])
    headers["authorization"] = re.sub(r"/\d{8}/", "/DAY/", headers["authorization"])
    assert re.fullmatch(r"\d{8}T\d{6}Z", headers.pop("x-amz-date"))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                        headers.pop("amz-sdk-invocation-id"))  # fmt: skip
    return request.line, headers, request.body


@pytest.mark.parametrize("credentials", CREDENTIALS, ids=["keys", "temporary"])
@pytest.mark.parametrize("plain", [False, True], ids=["direct", "plain"])
async def test_requests_are_the_librarys(
    monkeypatch: pytest.MonkeyPatch, credentials: tuple[str, str, str | None], *, plain: bool
) -> None:
    """Line, headers, signed headers and body are equal, whatever stands in the token."""
    for name, value in zip(
        ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"), credentials, strict=True
    ):
        if value is not None:
            monkeypatch.setenv(f"AWS_{name}", value)
    said = reply(200, {"ProductCode": "p", "CustomerIdentifier": "c"})
    async with raw_aws(said) as aws:
        await by_ours(aws.url, TOKENS, plain=plain)
        ours = [comparable(request) for request in aws.received]
        aws.received.clear()
        await by_aiobotocore(aws.url, TOKENS, *credentials)
        theirs = [comparable(request) for request in aws.received]
    assert ours == theirs
    assert len(ours) == len(TOKENS)


@pytest.mark.parametrize("plain", [False, True], ids=["direct", "plain"])
async def test_results_are_the_librarys(monkeypatch: pytest.MonkeyPatch, *, plain: bool) -> None:
    """Over the whole grammar of the simulator the results are equal."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    steps = [reply(said.status, said.body) for _, _, said in ANSWERED]
    tokens = [f"{word}-1-x" for word, _, _ in ANSWERED]
    async with raw_aws(*steps) as aws:
        ours = await by_ours(aws.url, tokens, plain=plain)
    async with raw_aws(*steps) as aws:
        theirs = await by_aiobotocore(aws.url, tokens, "AKID", "secret", None)
    for (word, nth, _), mine, other in zip(ANSWERED, ours, theirs, strict=True):
        if word == "garbage":  # no JSON at all; the words differ
            assert isinstance(mine, Fault)
            assert isinstance(other, Fault)
            assert (mine.kind, mine.code) == (other.kind, other.code)
        else:
            assert mine == other, (word, nth)
    assert {word for word, _, _ in ANSWERED} == _RULES.keys() - {"hang"}
