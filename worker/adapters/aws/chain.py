"""One look-up of AWS credentials: the standard chain, an assumed role, the expected account."""

from __future__ import annotations

import math
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import NoCredentialsError

from worker.adapters.aws.helper import use_ended_helpers
from worker.adapters.aws.signing import Identity
from worker.core.credentials import KNOWN
from worker.core.exceptions import SetupFault
from worker.core.renewal import MARGIN_SECONDS

if TYPE_CHECKING:
    from worker.adapters.aws.endpoint import Endpoint

# A lost answer is requested again, well within the time limit of a look-up; a failed look-up is
# repeated anyway, so few attempts are enough.
_STS: Final = AioConfig(
    connect_timeout=5,
    read_timeout=10,
    retries={"total_max_attempts": 3, "mode": "standard"},
)

_PARTS: Final = (
    "the access key (AWS_ACCESS_KEY_ID)",
    "the secret key (AWS_SECRET_ACCESS_KEY)",
    "the session token (AWS_SESSION_TOKEN)",
)
_UNFIT: Final = (
    (re.compile(r"[\r\n]\Z"), "ends with a line break"),
    (re.compile(r"[\r\n]"), "contains a line break"),
    (re.compile(r"\s"), "contains white space"),
    (re.compile(r"[\x00-\x1f\x7f-\x9f]"), "contains a control character"),
    (re.compile(r"[^\x21-\x7e]"), "contains a character that is not ASCII"),
)


class WrongAccount(SetupFault):
    """The credentials belong to another account than the operator expects."""


class MalformedCredentials(SetupFault):
    """The credentials contain a character that no request can carry, such as a line break."""


class ExpiredCredentials(SetupFault):
    """The source of the credentials returned expired ones."""


class Found(NamedTuple):
    """The credentials that a look-up found.

    Attributes:
        identity: Used to sign.
        ends: When it expires, in seconds since the epoch; infinite for static keys.
        method: botocore's name for its place in the chain.
    """

    identity: Identity
    ends: float
    method: str


class Chain:
    """Looks credentials up, each time from the beginning, so that corrected ones are found.

    Args:
        endpoint: The region for calls of STS, the role to assume and the expected account.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._region = endpoint.region
        self._role_arn = endpoint.role_arn
        self._external_id = endpoint.external_id
        self._expected_account = endpoint.expected_account
        self._confirmed_key: str | None = None

    async def look_up(self) -> Found:
        """Look the credentials up once.

        Raises:
            NoCredentialsError: The chain has none.
            MalformedCredentials: They contain a character that no request can carry.
            ExpiredCredentials: They have expired.
            WrongAccount: They belong to another account.
            Exception: Any other error of the chain's files, programs and services.
        """
        session = AioSession()
        session.set_config_variable("region", self._region)
        use_ended_helpers(session)
        source = await session.get_credentials()
        if source is None:
            raise NoCredentialsError
        found = await _frozen(source)  # raises if they can't be used for STS either
        if self._role_arn:
            assumed = await _frozen(self._assumed(session, source))
            found = assumed._replace(method=found.method)
        if self._expected_account and found.identity.access_key != self._confirmed_key:
            compare(await account_of(found.identity, self._region), self._expected_account)
            self._confirmed_key = found.identity.access_key
        return found

    def _assumed(self, session: AioSession, source: Any) -> Any:
        external = {"ExternalId": self._external_id} if self._external_id else {}
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=_regional(session, self._region),
            source_credentials=source,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": "resolution-worker", **external},
        )
        return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


async def account_of(identity: Identity, region: str) -> str:
    """The account of credentials, which STS reports to anybody without a permission.

    Raises:
        Exception: STS can't be reached, or refuses the call.
    """
    async with _regional(AioSession(), region)(
        "sts",
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        aws_session_token=identity.session_token,
    ) as sts:
        return str((await sts.get_caller_identity())["Account"])


def compare(account: str, expected_account: str) -> None:
    """Compare the expected account with that of the credentials.

    Raises:
        WrongAccount: The credentials belong to another account.
    """
    if account != expected_account:
        raise WrongAccount(
            f"the credentials belong to account {account}, not to {expected_account}: "
            "use that account's, or correct WORKER_AWS__EXPECTED_ACCOUNT"
        )


async def _frozen(found: Any) -> Found:
    if isinstance(found, RefreshableCredentials):
        # Otherwise botocore would renew them at once if they expire within 15 minutes.
        found._advisory_refresh_timeout = -math.inf  # noqa: SLF001 - no public way
        found._mandatory_refresh_timeout = -math.inf  # noqa: SLF001 - as above
    frozen = await found.get_frozen_credentials()
    identity = _sound(Identity(frozen.access_key, frozen.secret_key, frozen.token))
    for secret in (identity.secret_key, identity.session_token):
        KNOWN.keep(secret or "")
    expiry = getattr(found, "_expiry_time", None)
    if expiry is None:
        return Found(identity, math.inf, found.method)
    if expiry.timestamp() - MARGIN_SECONDS <= time.time():
        raise ExpiredCredentials(f"the source returned credentials that expired at {expiry:%FT%TZ}")
    return Found(identity, expiry.timestamp(), found.method)


@lru_cache(maxsize=8)
def _sound(identity: Identity) -> Identity:
    for name, part in zip(_PARTS, identity, strict=True):
        for unfit, words in _UNFIT:
            if unfit.search(part or ""):
                raise MalformedCredentials(f"{name} {words}")
    return identity


def _regional(session: AioSession, region: str) -> Any:
    def create(service: str, **arguments: Any) -> Any:
        return session.create_client(service, region_name=region, config=_STS, **arguments)

    return create
