"""Who we are to AWS: the standard chain, an assumed role, and the account it must be."""

from __future__ import annotations

from typing import Any

from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.exceptions import NoCredentialsError

from worker.adapters.marketplace.signing import Identity


class WrongAccount(Exception):  # noqa: N818 - a state of the world, told to the operator
    """The credentials belong to another account than the operator expects."""


class Credentials:
    """The identity that signs, from the standard AWS chain, looked up anew after a refusal.

    Args:
        region: For the STS calls that a role or an expected account need.
        role_arn: A role to assume in the seller account, if any.
        expected_account: The account that the identity must belong to, if any.
    """

    def __init__(
        self, region: str, role_arn: str | None = None, expected_account: str | None = None
    ) -> None:
        self._region = region
        self._role_arn = role_arn
        self._expected_account = expected_account
        self._found: Any = None
        self._confirmed_key: str | None = None

    async def current(self) -> Identity:
        """The identity to sign with now; refreshed by botocore where it is temporary.

        Raises:
            NoCredentialsError: The chain has none.
            WrongAccount: They are another account's.
        """
        if self._found is None:
            self._found = await self._find()
        frozen = await self._found.get_frozen_credentials()
        identity = Identity(frozen.access_key, frozen.secret_key, frozen.token)
        if self._expected_account and identity.access_key != self._confirmed_key:
            await self._confirm(identity)
        return identity

    def forget(self) -> None:
        """Look the chain up anew at the next call, so that mended credentials are found."""
        self._found = None
        self._confirmed_key = None

    async def _find(self) -> Any:
        session = AioSession()
        session.set_config_variable("region", self._region)
        found = await session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return self._assumed(session, found) if self._role_arn else found

    def _assumed(self, session: AioSession, source: Any) -> Any:
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=_regional(session, self._region),
            source_credentials=source,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": "resolution-worker"},
        )
        return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    async def _confirm(self, identity: Identity) -> None:
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
        self._confirmed_key = identity.access_key


def _regional(session: AioSession, region: str) -> Any:
    def create(service: str, **arguments: Any) -> Any:
        return session.create_client(service, region_name=region, **arguments)

    return create
