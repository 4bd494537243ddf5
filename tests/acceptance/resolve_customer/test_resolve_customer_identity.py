"""Whose call `resolve-customer` makes: the worker's role, and the account that it expects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.aws_cli import OURS, Ended, Tool
from tests.fakes.aws import raw_aws, reply

if TYPE_CHECKING:
    from pathlib import Path

    from harness.programs import Simulator

_ROLE: Final = "arn:aws:iam::123456789012:role/seller"
_SESSION: Final = "session-token-of-the-assumed-role"


def _assumed(access_key: str) -> bytes:
    """What STS answers to AssumeRole."""
    return reply(
        200,
        f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleResult><Credentials><AccessKeyId>{access_key}</AccessKeyId>
        <SecretAccessKey>simulator</SecretAccessKey><SessionToken>{_SESSION}</SessionToken>
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser>
        <Arn>{_ROLE}</Arn><AssumedRoleId>x:y</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>
        </AssumeRoleResponse>""".encode(),
        Content_Type="text/xml",
    )


_IDENTITY: Final = reply(
    200,
    b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
    <GetCallerIdentityResult><Account>123456789012</Account><UserId>x</UserId>
    <Arn>arn:aws:iam::123456789012:user/x</Arn></GetCallerIdentityResult>
    </GetCallerIdentityResponse>""",
    Content_Type="text/xml",
)


async def _run(simulator: Simulator, home: Path, *more: str, **given: str) -> Ended:
    tool = Tool(OURS, simulator.url, home)
    arguments = ("--registration-token", "-", "--endpoint-url", "{url}", *more)
    return await asyncio.to_thread(
        tool.run, *arguments, stdin="seller-simulator-1", environment=given
    )


async def test_the_workers_role_is_assumed(simulator: Simulator, tmp_path: Path) -> None:
    """The token is resolved as the role, whose credentials no debug line shows."""
    async with raw_aws(_assumed("simulator")) as sts:
        ended = await _run(
            simulator,
            tmp_path,
            "--debug",
            AWS_ACCESS_KEY_ID="someone-else",
            AWS_ENDPOINT_URL_STS=sts.url,
            WORKER_AWS__ROLE_ARN=_ROLE,
        )

    assert ended.code == 0, ended.err
    assert b"Action=AssumeRole" in sts.received[0].body
    assert "someone-else" in sts.received[0].headers["authorization"]
    assert "<SecretAccessKey>[redacted]" in ended.err
    assert _SESSION not in ended.err


async def test_a_named_profile_is_left_as_it_is(simulator: Simulator, tmp_path: Path) -> None:
    """Whoever names a profile has chosen an identity."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[me]\naws_access_key_id = simulator\naws_secret_access_key = simulator\n", encoding="utf-8"
    )
    async with raw_aws(_assumed("nobody")) as sts:
        ended = await _run(
            simulator,
            tmp_path,
            *("--profile", "me"),
            AWS_ENDPOINT_URL_STS=sts.url,
            WORKER_AWS__ROLE_ARN=_ROLE,
        )

    assert ended.code == 0, ended.err
    assert sts.received == []


@pytest.mark.parametrize(("account", "code"), [("123456789012", 0), ("999999999999", 253)])
async def test_another_account_than_is_expected_is_told_no_token(
    simulator: Simulator, tmp_path: Path, account: str, code: int
) -> None:
    """The account is compared before the token is sent anywhere."""
    async with raw_aws(_IDENTITY) as sts:
        ended = await _run(
            simulator,
            tmp_path,
            AWS_ENDPOINT_URL_STS=sts.url,
            WORKER_AWS__EXPECTED_ACCOUNT=account,
        )

    assert ended.code == code, ended.err
    assert await simulator.calls() == (1 if code == 0 else 0)
    assert ("belong to account 123456789012, not to" in ended.err) is (code != 0)


async def test_a_role_that_may_not_be_assumed_is_the_services_error(
    simulator: Simulator, tmp_path: Path
) -> None:
    """STS's refusal has the code and the form of the AWS CLI's errors."""
    refusal = (
        b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender'
        b"</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
    )
    async with raw_aws(reply(403, refusal, Content_Type="text/xml")) as sts:
        ended = await _run(
            simulator, tmp_path, AWS_ENDPOINT_URL_STS=sts.url, WORKER_AWS__ROLE_ARN=_ROLE
        )

    assert ended.code == 254
    assert "(AccessDenied) when calling the AssumeRole operation" in ended.err
    assert "not you" in ended.err
