"""A botocore client with the AWS CLI v2's precedence for region, retries, time-outs, identity."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.configprovider import (
    ChainProvider,
    ConstantProvider,
    EnvironmentProvider,
    ScopedConfigProvider,
)

from worker import __version__
from worker.adapters.proxies import BadProxy, proxy_of
from worker.cli.resolve_customer import identity, protections
from worker.cli.resolve_customer.faults import ConfigurationFault
from worker.cli.resolve_customer.models import ModelLoader
from worker.cli.resolve_customer.worker_settings import worker_settings

if TYPE_CHECKING:
    from worker.cli.resolve_customer.options import Options
    from worker.cli.resolve_customer.worker_settings import WorkerSettings

_SERVICE: Final = "meteringmarketplace"
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_MARKETPLACE_METERING", "AWS_ENDPOINT_URL")


@dataclass(frozen=True, slots=True)
class Opened:
    """A client, and other values from the same configuration.

    Attributes:
        client: botocore's client for the metering service.
        output: The output format.
        ca_bundle: A file of authorities to trust instead of the well-known ones, or None.
    """

    client: Any
    output: str
    ca_bundle: str | None


def open_client(options: Options) -> Opened:
    """A client for the metering service.

    Raises:
        ConfigurationFault: The worker's settings forbid the call, or can't be read.
        botocore.exceptions.BotoCoreError: The AWS configuration can't be used.
    """
    settings = worker_settings()
    session = _session(options)
    region = options.region or session.get_config_variable("region") or settings.region
    credentials = identity.credentials(session, options, settings, region)
    client = session.create_client(
        _SERVICE,
        region_name=region,
        endpoint_url=options.endpoint_url or _endpoint(session, settings),
        verify=options.ca_bundle if options.verify_ssl else False,
        config=_config(options),
        **credentials,
    )
    _check_proxy(client.meta.endpoint_url)
    ca_bundle = _ca_bundle(session, options)
    protections.check(client.meta.endpoint_url, options, ca_bundle)
    output = options.output or session.get_config_variable("output")
    return Opened(client, output, ca_bundle)


def _session(options: Options) -> Any:
    session = botocore.session.Session(profile=options.profile)
    loader = ModelLoader.on(session.get_config_variable("data_path"))
    session.register_component("data_loader", loader)
    store = session.get_component("config_store")
    store.set_config_provider("region", _chain(session, "region", *_REGION_VARIABLES))
    output = _chain(session, "output", "AWS_DEFAULT_OUTPUT", default="json")
    store.set_config_provider("output", output)
    # botocore's default is another mode, with more attempts.
    retries = _chain(session, "retry_mode", "AWS_RETRY_MODE", default="standard")
    store.set_config_provider("retry_mode", retries)
    return session


_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


def _chain(session: Any, name: str, *variables: str, default: str | None = None) -> Any:
    """A provider that tries the environment, then the profile, then the default."""
    environment = [EnvironmentProvider(each, os.environ) for each in variables]
    profile = ScopedConfigProvider(config_var_name=name, session=session)
    return ChainProvider([*environment, profile, ConstantProvider(default)])


def _config(options: Options) -> Config:
    return Config(
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        user_agent_extra=f"resolution-worker/{__version__}#resolve-customer",
        signature_version=None if options.sign_request else UNSIGNED,
    )


def _endpoint(session: Any, settings: WorkerSettings) -> str | None:
    """The worker's endpoint, unless the AWS configuration sets one, which botocore itself uses."""
    if settings.endpoint_url is None or any(os.environ.get(each) for each in _ENDPOINT_VARIABLES):
        return None
    profile = session.get_scoped_config()
    return None if "endpoint_url" in profile or "services" in profile else settings.endpoint_url


def _check_proxy(url: str) -> None:
    try:
        proxy_of(url)
    except BadProxy as error:
        raise ConfigurationFault(f"{error}.") from None


def _ca_bundle(session: Any, options: Options) -> str | None:
    bundle: str | None = options.ca_bundle or session.get_config_variable("ca_bundle")
    return bundle if options.verify_ssl else None
