"""The AWS identity that a worker would use, and where it is configured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from worker.adapters.aws.chain import Chain, account_of, compare
from worker.adapters.aws.credentials import Credentials
from worker.adapters.aws.faults import identity_fault
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from worker.adapters.aws.chain import Found
    from worker.adapters.aws.endpoint import Endpoint
    from worker.adapters.aws.signing import Identity
    from worker.core.records import Fault

# We report these errors ourselves; without a handler Python would print log lines and tracebacks.
for _name in ("aiobotocore", "botocore"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_ORIGINS: Final = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "the credentials file (~/.aws/credentials)",
    "config-file": "the configuration file (~/.aws/config)",
    "custom-process": "a credential process",
    "sso": "a single sign-on session",
    "login": "a login session",
    "assume-role": "a profile that assumes a role",
    "assume-role-with-web-identity": "a web identity, such as a Kubernetes service account",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}


class IdentityFault(SetupFault):
    """AWS credentials can't be obtained, or are not the right ones.

    Attributes:
        fault: The same that would stop a worker's calls.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


async def look_up(endpoint: Endpoint) -> Found:
    """The credentials that a worker would sign with, within the time limit of its own look-up.

    Raises:
        IdentityFault: There are none, or they can't be used.
    """
    credentials = Credentials(Chain(endpoint).look_up)
    try:
        async with credentials.renewing():
            await credentials.current(None)
    except Exception as error:  # the chain runs files and programs of all kinds
        raise IdentityFault(identity_fault(error, endpoint.region)) from error
    assert credentials.known is not None  # otherwise `current` has raised
    return credentials.known


def origin(found: Found) -> str:
    """A description of where in the standard chain the credentials were found."""
    return _ORIGINS.get(found.method, found.method)


async def account(identity: Identity, region: str, expected: str | None) -> str:
    """The account of credentials, as STS reports it.

    Raises:
        IdentityFault: It is another one than the expected one, or STS did not answer.
    """
    try:
        found = await account_of(identity, region)
        if expected:
            compare(found, expected)
    except Exception as error:  # as above
        raise IdentityFault(identity_fault(error, region)) from error
    return found
