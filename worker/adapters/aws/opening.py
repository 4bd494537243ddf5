"""Opens the client of ResolveCustomer, with the proxy and the trust store of AWS's own set-up."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path

from worker import __version__
from worker.adapters.aws.addresses import (
    METERING,
    OUR_SETTING,
    STS,
    Address,
    RefusedEndpoint,
    check,
    named,
    own,
)
from worker.adapters.aws.chain import Chain
from worker.adapters.aws.client import AwsMarketplace
from worker.adapters.aws.connector import Connector
from worker.adapters.aws.credentials import Credentials
from worker.adapters.aws.direct import DirectCalls, request_of
from worker.adapters.aws.faults import file_fault, words
from worker.adapters.aws.plain import PlainCalls
from worker.adapters.aws.signing import Scope
from worker.adapters.aws.transport import Transport
from worker.adapters.aws.unreached import route_to
from worker.adapters.proxies import BadProxy, proxy_of
from worker.core import aws_causes
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from worker.adapters.aws.chain import Found
    from worker.adapters.aws.client import Calls
    from worker.adapters.aws.endpoint import Endpoint
    from worker.adapters.proxies import Proxy

_SERVICE: Final = "meteringmarketplace"
_SIGNING_NAME: Final = "aws-marketplace"


class BadAwsSetup(SetupFault):
    """AWS's own configuration (profile, trust store, endpoint) can't be used or is not allowed.

    Attributes:
        what: What is wrong.
        remedy: What to do about it.
        code: The name of the libraries' error; None where we refuse an address.
    """

    def __init__(self, what: str, remedy: str, code: str | None = None) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy, self.code = what, remedy, code


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
    chain = Chain(endpoint)
    credentials = Credentials(chain.look_up, known=known)
    async with AsyncExitStack() as stack:
        with _translated():
            client = await stack.enter_async_context(_client(session, endpoint))
            address = await _called(session, endpoint, client.meta.endpoint_url)
            route = route_to(address.url, address.named_by)
            request = await request_of(client)
            http = _http_session(session, address.url, endpoint.concurrency)
        async with http, credentials.renewing():
            transport = Transport(http, _proxy_headers(proxy_of(address.url)))
            calls: Calls = DirectCalls(transport, request, Scope(endpoint.region, _SIGNING_NAME))
            if endpoint.plain_client:
                calls = PlainCalls(client, transport)
            yield AwsMarketplace(calls, transport, credentials, endpoint, address, route=route)


async def called(endpoint: Endpoint) -> Address:
    """The endpoint that is called, and what names it.

    Raises:
        BadAwsSetup: As for `open_marketplace`.
    """
    session = AioSession()
    with _translated():
        if endpoint.url is not None:  # it takes precedence over AWS's own files
            address = Address(endpoint.url, OUR_SETTING)
            check(address, endpoint.fault_of)
            return address
        async with _client(session, endpoint) as client:
            return await _called(session, endpoint, client.meta.endpoint_url)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of an AWS set-up that can't be used become `BadAwsSetup`."""
    try:
        yield
    except (RefusedEndpoint, BadProxy) as error:
        what, _, accepted = str(error).partition(" (")
        raise BadAwsSetup(what, accepted.removesuffix(")") or "correct it") from None
    except Exception as error:  # botocore raises anything for what it can't read
        fault = file_fault(error)
        code, told = (fault.code, fault.message) if fault else (type(error).__name__, words(error))
        remedy = aws_causes.of_identity(code, told).remedy
        raise BadAwsSetup(f"the AWS set-up can't be used: {told}", remedy, code) from error


def _client(session: AioSession, endpoint: Endpoint) -> Any:
    """A client that does not retry, which is the pipeline's matter."""
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


async def _called(session: AioSession, endpoint: Endpoint, url: str) -> Address:
    """The endpoint of a client with this URL; refused if tokens must not be sent to it."""
    if endpoint.url is not None:
        address = Address(url, OUR_SETTING)
    else:
        address = named(session, METERING) or await own(session, url, endpoint.region)
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
    proxy = proxy_of(url)
    return aiohttp.ClientSession(
        connector=Connector(
            concurrency + _SPARE_CONNECTIONS, ssl.create_default_context(cafile=bundle)
        ),
        timeout=aiohttp.ClientTimeout(total=None),  # the caller limits the whole call
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy and proxy.url,
        trust_env=False,
    )


def _proxy_headers(proxy: Proxy | None) -> dict[str, str] | None:
    """What a proxy is told of us; aiohttp sends it as `Proxy-Authorization`, to the proxy alone."""
    if proxy is None or proxy.login is None:
        return None
    return {"Authorization": aiohttp.encode_basic_auth(*proxy.login)}


_SPARE_CONNECTIONS: Final = 2  # for probes
