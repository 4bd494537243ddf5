"""The Marketplace port on aiobotocore: one client per process, one call per attempt.

Nothing below retries: the pipeline decides about retries, and meters every call.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from worker.adapters.aws.attempt import Attempt, attempt
from worker.adapters.aws.credentials import Credentials, CredentialsTimeout
from worker.adapters.aws.faults import identity_fault, local_fault, proxy_fault, service_fault
from worker.adapters.aws.transport import UnusableReply
from worker.adapters.aws.unreached import no_connection_in_time
from worker.core import aws_errors
from worker.core.records import Answer, Fault, FaultKind, Token
from worker.core.renewal import LOOK_UP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from worker.adapters.aws.addresses import Address
    from worker.adapters.aws.endpoint import Endpoint
    from worker.adapters.aws.signing import Identity
    from worker.adapters.aws.transport import Transport
    from worker.core.aws_reach import Route
    from worker.core.clock import Reading

log: Final = structlog.get_logger()

# Not a buyer's token: AWS answers InvalidTokenException once it accepts our identity.
_PROBE: Final = Token.of("resolution-worker-probe")

# After these it is not known whether AWS accepts us.
_UNPROVEN: Final = frozenset({FaultKind.SYSTEMIC, FaultKind.TRANSIENT})


class Calls(Protocol):
    """How a call is made: by `direct` or by `plain`."""

    async def resolve(self, token: str, identity: Identity) -> dict[str, Any]:
        """Make one call; returns what a success says.

        Raises:
            botocore.exceptions.ClientError: AWS answered with an error.
            UnusableReply: The answer can't be used.
            BotoCoreError: There was no answer, like `aiohttp.ClientError` and `OSError`.
        """


class AwsMarketplace:
    """ResolveCustomer; see `worker.ports.Marketplace`. Created by `open_marketplace`.

    Attributes:
        address: The endpoint that is called, and what names it.
        route: How it is reached.
    """

    def __init__(
        self,
        calls: Calls,
        transport: Transport,
        credentials: Credentials,
        endpoint: Endpoint,
        address: Address,
        *,
        route: Route,
    ) -> None:
        self.address = address
        self.route = route
        self._calls = calls
        self._transport = transport
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
        calling = self._calls.resolve(token.value, identity)
        reply = await self._tried(calling, Attempt(), deadline)
        return reply if isinstance(reply, Fault) else aws_errors.read_answer(reply)

    async def reach(self) -> Fault | None:
        """Why the endpoint can't be reached, or None; asks it for nothing. Never raises."""
        looking = Attempt()
        status = await self._tried(
            self._transport.look(self.address.url), looking, self._deadline()
        )
        if isinstance(status, Fault):  # once connected, no answer is the next call's matter
            return None if status.sent else status
        return proxy_fault(status, f"Http{status}", self.route)

    async def _tried(self, call: Awaitable[Any], made: Attempt, deadline: float) -> Any:
        """What a call returns, or its fault."""
        held = attempt.set(made)
        try:
            async with asyncio.timeout_at(deadline):
                return await call
        except TimeoutError:
            seconds = self._timeout_seconds
            if made.sent:
                return aws_errors.timeout(seconds)
            return no_connection_in_time(self.route, connecting=made.connecting)
        except ClientError as error:
            return service_fault(error, self.route)
        except UnusableReply as error:
            return aws_errors.unusable(str(error))
        except (BotoCoreError, aiohttp.ClientError, OSError) as error:
            return local_fault(error, made, self.route)
        finally:
            attempt.reset(held)

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

    async def check_identity(self) -> Fault | None:
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
        return self._transport.clock

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
        return identity_fault(error, self._endpoint.region)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds
