"""The simulator, called by the real AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "simulator"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def aws() -> Path:
    """The AWS CLI, in a virtual environment of its own."""
    command = ROOT / os.environ.get("AWSCLI_VENV", ".venv-awscli") / "bin" / "aws"
    assert command.exists(), f"there is no {command}: run `make awscli` first"
    return command


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a simulator listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "worker.lab.simulator", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


def resolve(
    aws: Path, url: str, token: str, secret: str = SECRET, session: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `aws meteringmarketplace resolve-customer`, without repeated tries."""
    environment = {
        "AWS_ACCESS_KEY_ID": SECRET,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.environ["PATH"],
        **({"AWS_SESSION_TOKEN": session} if session else {}),
    }
    return subprocess.run(
        [
            *(str(aws), "meteringmarketplace", "resolve-customer"),
            *("--registration-token", token, "--endpoint-url", url, "--output", "json"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("session", ["", "a session token"])
def test_the_aws_cli_resolves_a_token(aws: Path, url: str, session: str) -> None:
    """The AWS CLI signs, calls and prints the members, with a session token or without."""
    ended = resolve(aws, url, "same-012345678901-1", session=session)

    assert ended.returncode == 0, ended.stderr
    members = json.loads(ended.stdout)
    assert members["CustomerAWSAccountId"] == "012345678901"
    # It leaves out `Metadata`, which its model of the service does not have yet.
    assert members.keys() >= {"CustomerIdentifier", "ProductCode", "LicenseArn"}


@pytest.mark.parametrize(
    ("token", "code", "message"),
    [
        ("invalid-1", "InvalidTokenException", "Registration token is invalid"),
        ("expired-1", "ExpiredTokenException", "registration token has expired"),
        ("throttle-9-1", "ThrottlingException", "Rate exceeded"),
        ("denied-1", "AccessDeniedException", "aws-marketplace:ResolveCustomer"),
        ("fail-9-1", "InternalServiceErrorException", "internal error"),
    ],
)
def test_the_aws_cli_reads_each_refusal(
    aws: Path, url: str, token: str, code: str, message: str
) -> None:
    """The AWS CLI prints AWS's code and message for each refusal."""
    ended = resolve(aws, url, token)

    assert ended.returncode != 0
    assert f"({code})" in ended.stderr
    assert message in ended.stderr


def test_the_aws_cli_is_refused_with_a_wrong_secret(aws: Path, url: str) -> None:
    """A wrong secret key is told apart by its signature."""
    ended = resolve(aws, url, "ok-1", secret="wrong")

    assert ended.returncode != 0
    assert "(InvalidSignatureException)" in ended.stderr
    assert "does not match the signature you provided" in ended.stderr
