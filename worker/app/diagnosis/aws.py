"""Checks of AWS: the credentials, whether the endpoint can be reached, whether it accepts us."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.adapters.aws import BadAwsSetup, identity, open_marketplace, opening
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed, Skipped
from worker.app.diagnosis.role import skip_unless_worker
from worker.app.wiring import endpoint
from worker.core import aws_causes
from worker.core.records import Fault, FaultKind, Token

if TYPE_CHECKING:
    from worker.adapters.aws import Endpoint
    from worker.adapters.aws.addresses import Address
    from worker.adapters.aws.chain import Found
    from worker.core.records import Answer
    from worker.settings import Settings

# Not a buyer's token: AWS reports it as invalid once it accepts the credentials.
_MADE_UP: Final = Token.of("resolution-worker-check")


class Aws:
    """Checks of AWS with one identity, looked up once, because a helper program may be slow.

    Args:
        settings: The AWS section, and whose settings they are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The account has a check of its own.
        self._expected = settings.aws.expected_account
        where = endpoint(settings)
        seconds = min(where.timeout_seconds, STEP_SECONDS)
        self._where = replace(where, expected_account=None, timeout_seconds=seconds)
        self._found: Found | None = None

    async def credentials(self) -> Passed:
        """There are credentials, and the role, if one is set, can be assumed."""
        role, external_id = self._where.role_arn, self._where.external_id
        try:
            found = self._found = await identity.look_up(self._where)
        except identity.IdentityFault as refused:
            if refused.fault.code == "NoCredentialsError":
                await skip_unless_worker(self._settings)
            raise failure(refused.fault) from refused
        assumed = f", with which {role} was assumed" if role else ""
        notes = () if role or not external_id else (_NO_ROLE,)
        return Passed(f"found in {identity.origin(found)}{assumed}", notes)

    async def account(self) -> Passed:
        """The account of the credentials, which must be the expected one if there is one."""
        expected, region = self._expected, self._where.region
        if expected is None and self._has_no_sts():
            raise Skipped("because a stand-in is called, and AWS_ENDPOINT_URL_STS names no STS")
        assert self._found is not None  # otherwise this check is skipped
        try:
            async with asyncio.timeout(STEP_SECONDS):
                account = await identity.account(self._found.identity, region, expected)
        except identity.IdentityFault as refused:
            failed = failure(refused.fault)
        except TimeoutError:
            remedy = aws_causes.STS_UNREACHABLE.remedy
            failed = Failed("STS can't be reached", remedy, Cause.UNREACHABLE)
        else:
            as_expected = (
                "" if expected else " (WORKER_AWS__EXPECTED_ACCOUNT would make sure of it)"
            )
            return Passed(f"account {account}, according to STS{as_expected}")
        if expected is None:
            raise Skipped(f"because STS does not tell it, which no worker needs: {failed.detail}")
        raise failed

    def _has_no_sts(self) -> bool:
        """Whether a stand-in is called that comes without an STS: then AWS must not be asked."""
        url = self._where.url
        is_encrypted = url is None or url.lower().startswith("https://")
        return not is_encrypted and not any(os.environ.get(each) for each in _STS_VARIABLES)

    async def reachable(self) -> Passed:
        """The endpoint's name can be resolved, its port answers, its certificate is trusted."""
        try:
            async with open_marketplace(self._where, self._found) as marketplace:
                fault = await marketplace.reach()
        except BadAwsSetup as refusal:
            raise _refused(refusal) from refusal
        address, route = marketplace.address, marketplace.route
        notes = (address.doubt,) if address.doubt else ()
        if fault is not None:
            raise failure(fault, notes)
        tls = ", with TLS" if address.is_encrypted else ""
        through = (
            f", through the proxy {route.proxy} of {route.proxy.named_by}" if route.proxy else ""
        )
        return Passed(f"{route.target} answers{tls}; named by {address.named_by}{through}", notes)

    async def call(self) -> Passed:
        """AWS accepts our identity and request: it reports a made-up token as invalid."""
        try:
            async with open_marketplace(self._where, self._found) as marketplace:
                result = await marketplace.resolve(_MADE_UP)
        except BadAwsSetup as refusal:
            raise _refused(refusal) from refusal
        return _accepted(result)


async def called(where: Endpoint) -> Address:
    """The endpoint that is called, and what names it.

    Raises:
        Failed: It can't be determined, or tokens must not be sent to it.
        Skipped: The profile can't be read, which the check of the credentials says.
    """
    try:
        return await opening.called(where)
    except BadAwsSetup as refusal:
        raise _refused(refusal) from refusal


def failure(fault: Fault, notes: tuple[str, ...] = ()) -> Failed:
    """A fault in the words in which a worker tells it in its log and at `/readyz`."""
    cause = aws_causes.of_systemic if fault.kind is FaultKind.SYSTEMIC else aws_causes.of_call
    return Failed(
        f"{fault.code}: {fault.message}",
        cause(fault.code, fault.message).remedy,
        Cause.UNREACHABLE if fault.code in _UNREACHABLE else Cause.SETUP,
        notes,
    )


def _refused(refusal: BadAwsSetup) -> Failed | Skipped:
    if refusal.code in _OF_CREDENTIALS:
        return Skipped("see aws credentials")
    cause = Cause.CONFIGURATION if refusal.code is None else Cause.SETUP
    return Failed(refusal.what, refusal.remedy, cause)


def _accepted(result: Answer | Fault) -> Passed:
    if not isinstance(result, Fault):
        return Passed("ResolveCustomer answers")
    if result.kind is FaultKind.TOKEN:
        return Passed("ResolveCustomer accepts us: it reported a made-up token as invalid")
    if result.kind is FaultKind.THROTTLED:
        return Passed("ResolveCustomer accepts us", (f"it throttled this call ({result.code})",))
    raise failure(result)


# What names an endpoint for STS beside ours, which is not for STS.
_STS_VARIABLES: Final = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
_NO_ROLE: Final = "WORKER_AWS__EXTERNAL_ID has no effect without WORKER_AWS__ROLE_ARN"
_OF_CREDENTIALS: Final = frozenset({"ProfileNotFound", "ConfigNotFound", "ConfigParseError"})
_UNREACHABLE: Final = frozenset(
    {
        aws_causes.TIMEOUT,
        aws_causes.CONNECTION_FAULT,
        *aws_causes.CREDENTIALS_TIMEOUT.codes,
        *(code for cause in aws_causes.REACH for code in cause.codes),
    }
)
