"""The Marketplace port on aiobotocore: one client per process, one call per attempt.

aiobotocore's own retries are off: the pipeline decides about retries, and meters every call.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
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
from worker.adapters.aws.credentials import Credentials, CredentialsTimeout
from worker.adapters.aws.exchange import Exchange, UnusableReply, signer
from worker.adapters.aws.signing import Identity, Scope
from worker.adapters.shortages import shortage_behind
from worker.core import aws_errors
from worker.core.aws_errors import ServiceError
from worker.core.exceptions import SetupFault
from worker.core.records import Answer, Fault, FaultKind, Token
from worker.core.renewal import LOOK_UP_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from worker.adapters.aws.chain import Found
    from worker.core.clock import Reading

log: Final = structlog.get_logger()

_SERVICE: Final = "meteringmarketplace"
_EVENT: Final = "before-call.marketplace-metering.ResolveCustomer"
_SIGNING_NAME: Final = "aws-marketplace"

# Not a buyer's token: AWS answers InvalidTokenException once it accepts our identity.
_PROBE: Final = Token.of("resolution-worker-probe")

# After these it is not known whether AWS accepts us.
_UNPROVEN: Final = frozenset({FaultKind.SYSTEMIC, FaultKind.TRANSIENT})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint to call, the identity to use, and the limits.

    Attributes:
        region: Region of the metering endpoint.
        url: An endpoint other than AWS's own, or None.
        role_arn: A role to assume, or None.
        expected_account: The account that the identity must belong to, or None.
        timeout_seconds: Time limit of one whole call.
        concurrency: Maximum number of concurrent calls.
        fault_of: Returns why an endpoint's URL is refused, or None.
    """

    region: str
    url: str | None
    role_arn: str | None
    expected_account: str | None
    timeout_seconds: float
    concurrency: int
    fault_of: Callable[[str], str | None] = lambda _: None


class BadAwsSetup(SetupFault):
    """AWS's own configuration (profile, trust store, endpoint) can't be used or is not allowed."""


class AwsMarketplace:
    """ResolveCustomer; see `worker.ports.Marketplace`. Created by `open_marketplace`.

    Attributes:
        address: The endpoint that is called, and what names it.
    """

    def __init__(
        self,
        client: Any,
        exchange: Exchange,
        credentials: Credentials,
        endpoint: Endpoint,
        address: Address,
    ) -> None:
        self.address = address
        self._client = client
        self._exchange = exchange
        self._credentials = credentials
        self._endpoint = endpoint
        self._timeout_seconds = endpoint.timeout_seconds
        # As long as this replica has no identity, it shares none with others.
        self._unknown = secrets.token_hex(8)

    async def resolve(self, token: Token) -> Answer | Fault:
        """Make one call for a token."""
        return await self._resolve(token, self._deadline())

    async def _resolve(self, token: Token, deadline: float) -> Answer | Fault:
        identity = self._credentials.serving()
        if identity is None:
            found = await self._identified(self._credentials.current(deadline))
            if isinstance(found, Fault):
                return found
            identity = found
        signed = signer.set(identity)
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._client.resolve_customer(RegistrationToken=token.value)
        except TimeoutError:
            return aws_errors.timeout(self._timeout_seconds)
        except ClientError as error:
            return _service_fault(error)
        except UnusableReply as error:
            return aws_errors.unusable(str(error))
        except (BotoCoreError, aiohttp.ClientError, OSError) as error:
            return _local_fault(error)
        finally:
            signer.reset(signed)
        return aws_errors.read_answer(reply)

    def identity(self) -> str:
        """A hash of the calls' identity and endpoint: 16 hexadecimal digits that reveal neither.

        With a role the identity is the role, because each replica assumes it with keys of its own.
        Otherwise it is the last known access key; before there is one, the code of the fault that
        prevents it or, without a fault, a name unique to this process. Does no I/O.
        """
        known = self._credentials.known
        who = self._endpoint.role_arn or (known and known.identity.access_key) or self._unknown
        hashed = "\n".join((who, self._endpoint.region, self._endpoint.url or ""))
        return hashlib.sha256(hashed.encode()).hexdigest()[:16]

    async def confirm(self) -> Fault | None:
        """Why our identity can't be obtained or is not the expected one, or None. Never raises.

        Takes as long as a look-up, a minute at most. STS is called if a role or an expected account
        requires it; ResolveCustomer is not called.
        """
        found = await self._identified(self._credentials.current(None))
        return found if isinstance(found, Fault) else None

    def renew(self) -> None:
        """Start a new look-up of the credentials; the present ones are used until it succeeds."""
        self._credentials.forget()

    async def probe(self) -> Fault | None:
        """Find out whether AWS accepts us again, with newly looked-up credentials. Never raises.

        Returns:
            Why it still refuses us or can't be reached; None if it accepts us.
        """
        deadline = self._deadline()
        renewed = await self._identified(self._renewed(deadline))
        if isinstance(renewed, Fault) and self._credentials.serving() is None:
            return renewed
        try:
            result = await self._resolve(_PROBE, deadline)
        except Exception as error:
            # What fails for a made-up token fails for every token, so it is no token's fault.
            log.exception("probe_failed_unforeseen")
            return aws_errors.unforeseen_of_all(type(error).__name__)
        if not isinstance(result, Fault) or result.kind not in _UNPROVEN:
            return None
        failure = self._credentials.failure
        if failure is not None and result.kind is FaultKind.SYSTEMIC:
            return self._fault(
                failure
            )  # AWS refuses the old credentials: the fault to fix is the look-up's
        return result

    def clock(self) -> Reading | None:
        """AWS's clock as of its last answer; None before any answer."""
        return self._exchange.clock

    async def _renewed(self, deadline: float) -> Identity:
        if self._credentials.serving() is not None:
            deadline -= self._timeout_seconds / 2  # leaves time for a call with the present ones
        return await self._credentials.renewed(deadline)

    async def _identified(self, looking: Awaitable[Identity]) -> Identity | Fault:
        """Our identity; any error in finding it is a systemic fault, never a token's."""
        try:
            return await looking
        except Exception as error:  # noqa: BLE001 - the chain runs files and programs of all kinds
            fault = self._fault(error)
        if self._credentials.known is None:
            self._unknown = fault.code
        return fault

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, TimeoutError):
            message = (
                f"no credentials within {self._timeout_seconds:g} s; the look-up continues, "
                f"for {LOOK_UP_SECONDS:g} s at most"
            )
            return aws_errors.systemic(CredentialsTimeout.__name__, message)
        if isinstance(error, ClientError):
            return _service_fault(error)
        return _shortage(error) or _named(error)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds


def _service_fault(error: ClientError) -> Fault:
    described = error.response.get("Error", {})
    code, message = described.get("Code", "Unknown"), described.get("Message", "no message")
    if error.operation_name != "ResolveCustomer":
        return aws_errors.systemic(code, f"{error.operation_name} was refused: {message}")
    http_status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return aws_errors.classify(ServiceError(http_status, code, message))


def _local_fault(error: Exception) -> Fault:
    """The fault of a call that did not reach AWS completely: the network's, or our own."""
    if short := _shortage(error):
        return short
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return aws_errors.systemic("CertificateNotTrusted", _words(error))
    if isinstance(error, aiohttp.InvalidURL):  # the endpoint's URL was validated: it is a proxy's
        return aws_errors.systemic("InvalidURL", f"the proxy's address can't be read: {error}")
    if isinstance(error, (HTTPClientError, aiohttp.ClientError, OSError)):
        return aws_errors.connection_fault(_words(error))
    return _named(error)


def _shortage(error: Exception) -> Fault | None:
    found = shortage_behind(error)
    return found and aws_errors.systemic(found.code, f"{found.what} ({_words(error)})")


def _named(error: Exception) -> Fault:
    name = type(error).__name__
    return aws_errors.systemic(name, str(error) or name)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


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
    config = AioConfig(
        retries={"total_max_attempts": 1, "mode": "standard"},
        user_agent=f"resolution-worker/{__version__}",
        parameter_validation=False,
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                session.create_client(
                    _SERVICE,
                    region_name=endpoint.region,
                    endpoint_url=endpoint.url,
                    config=config,
                    # The exchange signs; these keep the client from searching the chain too.
                    aws_access_key_id="unused",
                    aws_secret_access_key="unused",  # noqa: S106 - no secret
                )
            )
            address = called(session, endpoint, client.meta.endpoint_url)
            http = _http_session(session, address.url, endpoint.concurrency)
        except RefusedEndpoint as error:
            raise BadAwsSetup(str(error)) from None
        except (BotoCoreError, ValueError, OSError) as error:
            raise BadAwsSetup(f"the AWS set-up can't be used: {_words(error)}") from error
        async with http, credentials.renewing():
            exchange = Exchange(http, Scope(endpoint.region, _SIGNING_NAME))
            client.meta.events.register(_EVENT, exchange)
            yield AwsMarketplace(client, exchange, credentials, endpoint, address)


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
