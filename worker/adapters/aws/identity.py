"""The AWS identity and endpoint that a worker would use, and where they are configured."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from worker.adapters.aws.addresses import OUR_SETTING, Address, check
from worker.adapters.aws.chain import Chain, compare
from worker.adapters.aws.credentials import Credentials
from worker.adapters.aws.opening import called
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from worker.adapters.aws.chain import Found
    from worker.adapters.aws.endpoint import Endpoint
    from worker.adapters.aws.signing import Identity

# We report these errors ourselves; without a handler Python would print log lines and tracebacks.
for _name in ("aiobotocore", "botocore"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_SERVICE: Final = "meteringmarketplace"

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
        code: AWS's error code, or the name of botocore's error.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def look_up(endpoint: Endpoint) -> Found:
    """The credentials that a worker would sign with, within the time limit of its own look-up.

    Raises:
        IdentityFault: There are none, or they can't be used.
    """
    credentials = Credentials(Chain(endpoint.region, endpoint.role_arn, None).look_up)
    try:
        async with credentials.renewing():
            await credentials.current(None)
    except Exception as error:  # the chain runs files and programs of all kinds
        raise _fault(error) from error
    assert credentials.known is not None  # otherwise `current` has raised
    return credentials.known


def origin(found: Found) -> str:
    """A description of where in the standard chain the credentials were found."""
    return _ORIGINS.get(found.method, found.method)


async def confirm(identity: Identity, region: str, expected_account: str) -> None:
    """Check through STS that credentials belong to the expected account.

    Raises:
        IdentityFault: They belong to another account, or STS did not answer.
    """
    try:
        await compare(identity, region, expected_account)
    except Exception as error:  # as above
        raise _fault(error) from error


async def address(endpoint: Endpoint) -> Address:
    """The endpoint that is called, and what names it.

    Raises:
        IdentityFault: The AWS configuration is faulty.
        RefusedEndpoint: Tokens must not be sent to it.
    """
    if endpoint.url is not None:  # it takes precedence over AWS's own files
        named = Address(endpoint.url, OUR_SETTING)
        check(named, endpoint.fault_of)
        return named
    session = AioSession()
    try:
        async with session.create_client(
            _SERVICE,
            region_name=endpoint.region,
            aws_access_key_id="unused",
            aws_secret_access_key="unused",  # noqa: S106 - no secret
        ) as client:
            return called(session, endpoint, str(client.meta.endpoint_url))
    except (BotoCoreError, ValueError) as error:
        raise _fault(error) from error


def proxy(url: str) -> str | None:
    """The proxy that the environment sets for an address, or None."""
    found = ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)
    return None if found is None else str(found)


def trust() -> ssl.SSLContext:
    """A TLS context with the trusted certificate authorities, which AWS_CA_BUNDLE may set.

    Raises:
        IdentityFault: They can't be read.
    """
    try:
        bundle = AioSession().get_config_variable("ca_bundle") or get_cert_path(verify=True)
        return ssl.create_default_context(cafile=bundle)
    except (BotoCoreError, OSError) as error:
        raise IdentityFault(
            "CaBundle", "the file of certificate authorities can't be read"
        ) from error


def _fault(error: Exception) -> IdentityFault:
    if isinstance(error, ClientError):
        described = error.response.get("Error", {})
        code, message = described.get("Code", "Unknown"), described.get("Message", "no message")
        return IdentityFault(code, f"{error.operation_name} was refused: {code}: {message}")
    return IdentityFault(type(error).__name__, str(error) or type(error).__name__)
