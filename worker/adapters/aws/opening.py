"""Opens the client of ResolveCustomer, with the proxy and the trust store of AWS's own set-up."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
)
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from worker import __version__
from worker.adapters.aws.addresses import (
    METERING,
    OUR_SETTING,
    STS,
    Address,
    RefusedEndpoint,
    check,
    named,
)
from worker.adapters.aws.chain import Chain
from worker.adapters.aws.client import AwsMarketplace
from worker.adapters.aws.credentials import Credentials
from worker.adapters.aws.exchange import Exchange
from worker.adapters.aws.faults import words
from worker.adapters.aws.signing import Scope
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.adapters.aws.chain import Found
    from worker.adapters.aws.endpoint import Endpoint

_SERVICE: Final = "meteringmarketplace"
_EVENT: Final = "before-call.marketplace-metering.ResolveCustomer"
_SIGNING_NAME: Final = "aws-marketplace"


class BadAwsSetup(SetupFault):
    """AWS's own configuration (profile, trust store, endpoint) can't be used or is not allowed."""


@asynccontextmanager
async def open_marketplace(
    endpoint: Endpoint, known: Found | None = None
) -> AsyncIterator[AwsMarketplace]:
    """A client for the duration of the block; creating one costs about 0.1 s of CPU.

    Args:
        endpoint: The endpoint and identity.
        known: Credentials already looked up, if any; otherwise the first call looks them up.

    Raises:
        BadAwsSetup: Profile, trust store or endpoint can't be used or is not allowed.
    """
    session = AioSession()
    chain = Chain(endpoint.region, endpoint.role_arn, endpoint.expected_account)
    credentials = Credentials(chain.look_up, known=known)
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(_client(session, endpoint))
            address = called(session, endpoint, client.meta.endpoint_url)
            http = _http_session(session, address.url, endpoint.concurrency)
        except RefusedEndpoint as error:
            raise BadAwsSetup(str(error)) from None
        except (BotoCoreError, ValueError, OSError) as error:
            raise BadAwsSetup(f"the AWS set-up can't be used: {words(error)}") from error
        async with http, credentials.renewing():
            exchange = Exchange(http, Scope(endpoint.region, _SIGNING_NAME))
            client.meta.events.register(_EVENT, exchange)
            yield AwsMarketplace(client, exchange, credentials, endpoint, address)


def _client(session: AioSession, endpoint: Endpoint) -> Any:
    """A client that neither retries nor signs: the pipeline retries, and the exchange signs."""
    config = AioConfig(
        retries={"total_max_attempts": 1, "mode": "standard"},
        user_agent=f"resolution-worker/{__version__}",
        parameter_validation=False,
    )
    return session.create_client(
        _SERVICE,
        region_name=endpoint.region,
        endpoint_url=endpoint.url,
        config=config,
        # These keep the client from searching the credential chain.
        aws_access_key_id="unused",
        aws_secret_access_key="unused",  # noqa: S106 - no secret
    )


def called(session: AioSession, endpoint: Endpoint, url: str) -> Address:
    """The endpoint that a client calls, and what names it.

    Args:
        session: The client's session.
        endpoint: The endpoint for which the client was created.
        url: The URL that the client has determined.

    Raises:
        RefusedEndpoint: Tokens must not be sent to it, or credentials not to the one of STS.
    """
    if endpoint.url is not None:
        address = Address(url, OUR_SETTING)
    else:
        address = named(session, METERING) or Address(url, f"AWS's own in {endpoint.region}")
    for each in (address, named(session, STS)):
        if each is not None:
            check(each, endpoint.fault_of)
    return address


def _http_session(session: AioSession, url: str, concurrency: int) -> aiohttp.ClientSession:
    """Pooled connections with the trust store and the proxy that botocore would use.

    The environment is read once, here: aiohttp would read it for each call, in a thread, and
    could take credentials for AWS from a `.netrc`.
    """
    bundle = session.get_config_variable("ca_bundle") or get_cert_path(verify=True)
    connector = aiohttp.TCPConnector(
        limit=concurrency + _SPARE_CONNECTIONS,
        ssl=ssl.create_default_context(cafile=bundle),
        keepalive_timeout=_KEEPALIVE_SECONDS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),  # the caller limits the whole call
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url),
        trust_env=False,
    )


_SPARE_CONNECTIONS: Final = 2  # for probes
_KEEPALIVE_SECONDS: Final = 30
