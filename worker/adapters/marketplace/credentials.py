"""Who we are to AWS: the standard chain, an assumed role, and the account it must be."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import structlog
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import NoCredentialsError

from worker.adapters.marketplace.signing import Identity

log: Final = structlog.get_logger()

_RENEWAL_SECONDS: Final = 2.5
_AGAIN_SECONDS: Final = 10.0
# Nearer to their end botocore itself asks for new ones at each use.
_LASTING_SECONDS: Final = 15 * 60

_PARTS: Final = (
    "the access key (AWS_ACCESS_KEY_ID)",
    "the secret key (AWS_SECRET_ACCESS_KEY)",
    "the session token (AWS_SESSION_TOKEN)",
)
_UNFIT: Final = (
    (re.compile(r"[\r\n]\Z"), "ends with a line break"),
    (re.compile(r"[\r\n]"), "holds a line break"),
    (re.compile(r"\s"), "holds white space"),
    (re.compile(r"[\x00-\x1f\x7f-\x9f]"), "holds a control character"),
    (re.compile(r"[^\x21-\x7e]"), "holds a character that is not ASCII"),
)


class WrongAccount(Exception):  # noqa: N818 - a state of the world, told to the operator
    """The credentials belong to another account than the operator expects."""


class MalformedCredentials(Exception):  # noqa: N818 - a state of the world, told to the operator
    """The credentials hold what no request can carry, such as a line break."""


class Credentials:
    """The identity that signs, from the standard AWS chain, looked up anew after a refusal.

    Args:
        region: For the STS calls that a role or an expected account need.
        role_arn: A role to assume in the seller account, if any.
        expected_account: The account that the identity must belong to, if any.
        renewal_seconds: How long to look for new credentials where the old ones still hold.
    """

    def __init__(
        self,
        region: str,
        role_arn: str | None = None,
        expected_account: str | None = None,
        *,
        renewal_seconds: float = _RENEWAL_SECONDS,
    ) -> None:
        self._region = region
        self._role_arn = role_arn
        self._expected_account = expected_account
        self._renewal_seconds = renewal_seconds
        self._found: Any = None
        self._before: Any = None
        self._looking = asyncio.Lock()
        self._confirming = asyncio.Lock()
        self._confirmed_key: str | None = None
        self._doubt: _Doubt | None = None

    async def current(self) -> Identity:
        """The identity to sign with now; refreshed by botocore where it is temporary.

        Raises:
            NoCredentialsError: The chain has none.
            MalformedCredentials: They hold what no request can carry.
            WrongAccount: They are another account's.
            Exception: Whatever the files, programs and services of the chain may meet.
        """
        identity = await _frozen(self._found or await self._looked_up())
        if self._expected_account and identity.access_key != self._confirmed_key:
            async with self._confirming:
                await self._confirm(identity)
        return identity

    def forget(self) -> None:
        """Look the chain up anew at the next call, so that mended credentials are found."""
        self._before = self._found or self._before
        self._found = None
        self._doubt = None

    async def _looked_up(self) -> Any:
        async with self._looking:
            if self._found is None:
                self._found = await self._renewed()
                self._before = None
            return self._found

    async def _renewed(self) -> Any:
        """What the chain has now or, where it fails, what it had, if that still holds."""
        before = self._before
        if not _lasts(before):
            return await self._find()
        try:
            async with asyncio.timeout(self._renewal_seconds):
                found = await self._find()
                await _frozen(found)  # a role is assumed only now
        except Exception as error:  # noqa: BLE001 - the chain runs files and programs of all kinds
            log.warning("credentials_kept", reason=type(error).__name__)
            return before
        return found

    async def _find(self) -> Any:
        session = AioSession()
        session.set_config_variable("region", self._region)
        found = await session.get_credentials()
        if found is None:
            raise NoCredentialsError
        if not self._role_arn:
            return found
        await _frozen(found)  # raises where STS could not be asked with them
        return self._assumed(session, found)

    def _assumed(self, session: AioSession, source: Any) -> Any:
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=_regional(session, self._region),
            source_credentials=source,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": "resolution-worker"},
        )
        return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    async def _confirm(self, identity: Identity) -> None:
        """Compare the account; what STS said of a key stands for a while, for asking is dear."""
        key, now = identity.access_key, asyncio.get_running_loop().time()
        if key == self._confirmed_key:
            return
        doubt = self._doubt
        if doubt is not None and doubt.key == key and now < doubt.until:
            raise doubt.error.with_traceback(None)
        # Stands if this is cancelled: then STS has not answered in time.
        self._doubt = _Doubt(key, now + _AGAIN_SECONDS, TimeoutError())
        try:
            await self._compare(identity)
        except Exception as error:
            self._doubt = _Doubt(key, now + _AGAIN_SECONDS, error)
            raise
        self._confirmed_key, self._doubt = key, None

    async def _compare(self, identity: Identity) -> None:
        async with _regional(AioSession(), self._region)(
            "sts",
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            aws_session_token=identity.session_token,
        ) as sts:
            account = (await sts.get_caller_identity())["Account"]
        if account != self._expected_account:
            raise WrongAccount(
                f"the credentials belong to account {account}, not to {self._expected_account}: "
                "use that account's, or mend WORKER_AWS__EXPECTED_ACCOUNT"
            )


class _Doubt(NamedTuple):
    """Why an account is not confirmed.

    Attributes:
        key: Whose it is.
        until: When STS may be asked again (loop time).
        error: What was met.
    """

    key: str
    until: float
    error: Exception


async def _frozen(found: Any) -> Identity:
    frozen = await found.get_frozen_credentials()
    return _sound(Identity(frozen.access_key, frozen.secret_key, frozen.token))


@lru_cache(maxsize=8)
def _sound(identity: Identity) -> Identity:
    for name, part in zip(_PARTS, identity, strict=True):
        for unfit, words in _UNFIT:
            if unfit.search(part or ""):
                raise MalformedCredentials(f"{name} {words}")
    return identity


def _lasts(found: Any) -> bool:
    """Whether these are temporary and will do for a good while yet."""
    temporary = isinstance(found, RefreshableCredentials)
    return temporary and not found.refresh_needed(refresh_in=_LASTING_SECONDS)


def _regional(session: AioSession, region: str) -> Any:
    def create(service: str, **arguments: Any) -> Any:
        return session.create_client(service, region_name=region, **arguments)

    return create
