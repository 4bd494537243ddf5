"""The Marketplace port on aiobotocore: one client a process, one call a try.

aiobotocore's own retries are off: the pipeline decides about trying again, and every call is
metered there.
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

# No buyer's token: AWS says InvalidTokenException to it as soon as it accepts our identity.
_PROBE: Final = Token.of("resolution-worker-probe")

# After these nobody knows whether AWS accepts us.
_UNPROVEN: Final = frozenset({FaultKind.SYSTEMIC, FaultKind.TRANSIENT})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to call, as whom, and for how long.

    Attributes:
        region: Region of the metering endpoint.
        url: Another endpoint than AWS's own, or None.
        role_arn: A role to assume, or None.
        expected_account: The account that the identity must have, or None.
        timeout_seconds: Bound of one whole call.
        concurrency: Most calls at once.
        fault_of: Why an endpoint is refused, wherever it was named, or None; by its URL.
    """

    region: str
    url: str | None
    role_arn: str | None
    expected_account: str | None
    timeout_seconds: float
    concurrency: int
    fault_of: Callable[[str], str | None] = lambda _: None


class BadAwsSetup(SetupFault):
    """AWS's own configuration (profile, trust store, endpoint) can't be used."""


class AwsMarketplace:
    """ResolveCustomer; see `worker.ports.Marketplace`. Made by `open_marketplace`.

    Attributes:
        address: The endpoint that is called, and who named it.
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
        # Whoever does not know who it is shares that with nobody.
        self._unknown = secrets.token_hex(8)

    async def resolve(self, token: Token) -> Answer | Fault:
        """Spend one call on a token."""
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
        """Who calls, where to, as 16 hexadecimal digits that give nothing away.

        With a role it is the role: each replica assumes it under keys of its own. Else it is the
        access key known last; before there is one, what keeps us from it or, as long as nothing
        does, a name of this process alone. Asks nobody.
        """
        known = self._credentials.known
        who = self._endpoint.role_arn or (known and known.identity.access_key) or self._unknown
        told = "\n".join((who, self._endpoint.region, self._endpoint.url or ""))
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    async def confirm(self) -> Fault | None:
        """Why our identity can't be had or is not the expected one, or None. Never raises.

        Takes as long as a look-up may, a minute at most. STS is asked where a role or an expected
        account need it; no call is spent.
        """
        found = await self._identified(self._credentials.current(None))
        return found if isinstance(found, Fault) else None

    def renew(self) -> None:
        """Look the credentials up anew; those held serve until there are others."""
        self._credentials.forget()

    async def probe(self) -> Fault | None:
        """Ask whether AWS accepts us again, with credentials looked up anew. Never raises."""
        deadline = self._deadline()
        renewed = await self._identified(self._renewed(deadline))
        if isinstance(renewed, Fault) and self._credentials.serving() is None:
            return renewed
        try:
            result = await self._resolve(_PROBE, deadline)
        except Exception as error:
            # What meets a made-up token meets every token, and is none's fault.
            log.exception("probe_failed_unforeseen")
            return aws_errors.unforeseen_of_all(type(error).__name__)
        if not isinstance(result, Fault) or result.kind not in _UNPROVEN:
            return None
        failure = self._credentials.failure
        if failure is not None and result.kind is FaultKind.SYSTEMIC:
            return self._fault(failure)  # AWS refuses the old ones: what to mend is the look-up
        return result

    def clock(self) -> Reading | None:
        """What AWS's clock said in its last answer, or None before any."""
        return self._exchange.clock

    async def _renewed(self, deadline: float) -> Identity:
        if self._credentials.serving() is not None:
            deadline -= self._timeout_seconds / 2  # leaves time for a call with those
        return await self._credentials.renewed(deadline)

    async def _identified(self, looking: Awaitable[Identity]) -> Identity | Fault:
        """Who we are; whatever keeps us from knowing is our fault, never a token's."""
        try:
            return await looking
        except Exception as error:  # noqa: BLE001 - the chain runs files and programs of all kinds
            fault = self._fault(error)
        if self._credentials.known is None:
            self._unknown = fault.code
        return fault

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, TimeoutError):
            waited = (
                f"no credentials within {self._timeout_seconds:g} s; the look-up goes on, "
                f"for {LOOK_UP_SECONDS:g} s at most"
            )
            return aws_errors.systemic(CredentialsTimeout.__name__, waited)
        if isinstance(error, ClientError):
            return _service_fault(error)
        return _shortage(error) or _named(error)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds


def _service_fault(error: ClientError) -> Fault:
    described = error.response.get("Error", {})
    code, message = described.get("Code", "Unknown"), described.get("Message", "no words")
    if error.operation_name != "ResolveCustomer":
        return aws_errors.systemic(code, f"{error.operation_name} was refused: {message}")
    http_status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return aws_errors.classify(ServiceError(http_status, code, message))


def _local_fault(error: Exception) -> Fault:
    """A call that never reached AWS, or not whole: the network's fault, or our own."""
    if short := _shortage(error):
        return short
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return aws_errors.systemic("CertificateNotTrusted", _words(error))
    if isinstance(error, aiohttp.InvalidURL):  # the endpoint's was accepted: it is a proxy's
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
    """A client for as long as the block lasts; making one costs about 0.1 s of CPU.

    Args:
        endpoint: Where to call, as whom.
        known: Credentials that were looked up before, if any; else the first call looks them up.

    Raises:
        BadAwsSetup: Profile, trust store or endpoint can't be used, or may not be.
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
                    # The exchange signs. These keep the client from searching the chain as well.
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
    """The endpoint that a client of ours calls, and who named it.

    Args:
        session: The client's.
        endpoint: What the client was made for.
        url: What the client has come to.

    Raises:
        RefusedEndpoint: No token may be told to it; or no credentials to that of STS.
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

    The environment is asked once, here: aiohttp would ask it for each call, in a thread, and
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
        timeout=aiohttp.ClientTimeout(total=None),  # the whole call is bounded by its caller
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url),
        trust_env=False,
    )


_SPARE_CONNECTIONS: Final = 2  # for probes
_KEEPALIVE_SECONDS: Final = 30
