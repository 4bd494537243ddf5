"""The worker's settings that were set explicitly and affect a call.

Loading all settings takes twice as long as the whole command. So the environment is read directly,
and the settings package is used only if there is a file or a directory of secrets too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.cli.resolve_customer.faults import ConfigurationFault

if TYPE_CHECKING:
    from worker.settings import Settings

_FILES: Final = ("WORKER_CONFIG", "WORKER_SECRETS_DIR")
_PREFIX: Final = "WORKER_AWS__"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of the section `aws`; None for those that are not set."""

    region: str | None
    endpoint_url: str | None
    role_arn: str | None
    external_id: str | None
    expected_account: str | None


def worker_settings() -> WorkerSettings:
    """The settings that were set explicitly; a default counts as not set.

    Raises:
        ConfigurationFault: A file or the directory of secrets can't be accepted.
    """
    if any(os.environ.get(name) for name in _FILES):
        return _from_all_sources()
    return WorkerSettings(
        region=_variable("REGION"),
        endpoint_url=_variable("ENDPOINT_URL"),
        role_arn=_variable("ROLE_ARN"),
        external_id=_variable("EXTERNAL_ID"),
        expected_account=_variable("EXPECTED_ACCOUNT"),
    )


def _variable(name: str) -> str | None:
    return os.environ.get(_PREFIX + name, "").strip() or None


def _from_all_sources() -> WorkerSettings:
    aws = all_settings().aws
    return WorkerSettings(
        region=aws.region if "region" in aws.model_fields_set else None,
        endpoint_url=aws.endpoint_url,
        role_arn=aws.role_arn,
        external_id=aws.external_id,
        expected_account=aws.expected_account,
    )


def all_settings() -> Settings:
    """All settings of the worker; loading takes about half a second.

    Raises:
        ConfigurationFault: They are not valid.
    """
    from worker.settings import SettingsError, load  # noqa: PLC0415 - start-up

    try:
        return load()
    except SettingsError as error:
        raise ConfigurationFault(str(error)) from None
