"""The call's identity: botocore's chain, then the worker's role and expected account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.cli.resolve_customer.faults import ConfigurationFault

if TYPE_CHECKING:
    from worker.cli.resolve_customer.options import Options
    from worker.cli.resolve_customer.worker_settings import WorkerSettings


def credentials(
    session: Any, options: Options, settings: WorkerSettings, region: str | None
) -> dict[str, str | None]:
    """Credential arguments for a client; empty to use botocore's own chain.

    With `--profile` the user has chosen an identity: then the worker's role is not assumed, and
    only the account is compared.

    Raises:
        ConfigurationFault: The identity belongs to another account than the expected one.
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: STS refuses.
    """
    if not options.sign_request or region is None:
        return {}
    found: dict[str, str | None] = {}
    if settings.role_arn and options.profile is None:
        found = _assumed(session, settings, region)
    if settings.expected_account:
        _confirm(session, found, settings.expected_account, region)
    return found


def _assumed(session: Any, settings: WorkerSettings, region: str) -> dict[str, str | None]:
    from botocore.credentials import AssumeRoleCredentialFetcher  # noqa: PLC0415 - start-up
    from botocore.exceptions import NoCredentialsError  # noqa: PLC0415 - start-up

    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    external = {"ExternalId": settings.external_id} if settings.external_id else {}
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=lambda service, **given: session.create_client(
            service, region_name=region, **given
        ),
        source_credentials=source,
        role_arn=settings.role_arn,
        extra_args={"RoleSessionName": "resolve-customer", **external},
    )
    got = fetcher.fetch_credentials()
    return {
        "aws_access_key_id": got["access_key"],
        "aws_secret_access_key": got["secret_key"],
        "aws_session_token": got["token"],
    }


def _confirm(session: Any, found: dict[str, str | None], expected: str, region: str) -> None:
    sts = session.create_client("sts", region_name=region, **found)
    account = sts.get_caller_identity()["Account"]
    if account != expected:
        raise ConfigurationFault(
            f"The credentials belong to account {account}, not to {expected}, which "
            "WORKER_AWS__EXPECTED_ACCOUNT names: use that account's, or correct the setting."
        )
