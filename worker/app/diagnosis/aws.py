"""Checks of AWS: the credentials, whether the endpoint can be reached, whether it accepts us."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarl import URL

from worker.adapters import reach
from worker.adapters.aws import BadAwsSetup, identity, open_marketplace
from worker.adapters.aws.addresses import RefusedEndpoint
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed, Skipped
from worker.app.wiring import endpoint
from worker.core import aws_causes
from worker.core.records import Fault, FaultKind, Token

if TYPE_CHECKING:
    from collections.abc import Callable

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
        settings: Only the AWS section is used.
        keep: Called with each secret that must not be shown.
    """

    def __init__(self, settings: Settings, keep: Callable[[str], None]) -> None:
        self._expected = settings.aws.expected_account
        self._where = endpoint(settings)
        self._keep = keep
        self._found: Found | None = None

    async def credentials(self) -> Passed:
        """There are credentials, and the role, if one is set, can be assumed."""
        role = self._where.role_arn
        try:
            found = self._found = await identity.look_up(self._where)
        except identity.IdentityFault as fault:
            raise _no_identity(fault, role) from fault
        for secret in (found.identity.secret_key, found.identity.session_token):
            if secret:
                self._keep(secret)
        assumed = f", with which {role} was assumed" if role else ""
        return Passed(f"found in {identity.origin(found)}{assumed}")

    async def account(self) -> Passed:
        """The credentials belong to the expected account."""
        expected = self._expected
        if expected is None:
            raise Skipped("because WORKER_AWS__EXPECTED_ACCOUNT is not set")
        assert self._found is not None  # otherwise this check is skipped
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await identity.confirm(self._found.identity, self._where.region, expected)
        except identity.IdentityFault as fault:
            if fault.code == "WrongAccount":
                what, _, remedy = str(fault).partition(": ")
                raise Failed(what, remedy) from fault
            unreachable = fault.code in _UNREACHED
            cause = Cause.UNREACHABLE if unreachable else Cause.SETUP
            raise _unreadable(fault) or Failed(
                str(fault), aws_causes.STS_UNREACHABLE.remedy, cause
            ) from fault
        except TimeoutError as error:
            raise Failed(
                "STS can't be reached", aws_causes.STS_UNREACHABLE.remedy, Cause.UNREACHABLE
            ) from error
        return Passed(f"account {expected}, according to STS")

    async def reachable(self) -> Passed:
        """The endpoint's name can be resolved, its port answers, its certificate is trusted."""
        address = await called(self._where)
        between = identity.proxy(address.url)
        if between is None:
            passed = await _reach(URL(address.url))
            return Passed(f"{passed.detail}; named by {address.named_by}")
        proxy = URL(between).with_scheme("http")
        passed = await _reach(proxy, "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY")
        host = URL(address.url).host
        return Passed(f"{host} (named by {address.named_by}), through the proxy {passed.detail}")

    async def call(self) -> Passed:
        """AWS accepts our identity and request: it reports a made-up token as invalid."""
        # The account has a check of its own.
        seconds = min(self._where.timeout_seconds, STEP_SECONDS)
        where = replace(self._where, expected_account=None, timeout_seconds=seconds)
        try:
            async with open_marketplace(where, self._found) as marketplace:
                result = await marketplace.resolve(_MADE_UP)
        except BadAwsSetup as error:
            raise _unreadable(error) or Failed(
                str(error), "correct AWS_CA_BUNDLE, AWS_PROFILE and the files in ~/.aws"
            ) from error
        return _accepted(result)


async def called(where: Endpoint) -> Address:
    """The endpoint that is called, and what names it.

    Raises:
        Failed: It can't be determined, or tokens must not be sent to it.
    """
    try:
        return await identity.address(where)
    except RefusedEndpoint as refusal:
        what, _, remedy = str(refusal).partition(" (")
        raise Failed(
            what, remedy.removesuffix(")") or "correct it", Cause.CONFIGURATION
        ) from refusal
    except identity.IdentityFault as fault:
        raise _unreadable(fault) or _unusable(fault) from fault


def _accepted(result: Answer | Fault) -> Passed:
    if not isinstance(result, Fault):
        return Passed("ResolveCustomer answers")
    if result.kind is FaultKind.TOKEN:
        return Passed("ResolveCustomer accepts us: it reported a made-up token as invalid")
    if result.kind is FaultKind.THROTTLED:
        return Passed("ResolveCustomer accepts us", (f"it throttled this call ({result.code})",))
    systemic = result.kind is FaultKind.SYSTEMIC
    cause = (aws_causes.of_systemic if systemic else aws_causes.of_call)(
        result.code, result.message
    )
    unanswered = result.code in {aws_causes.TIMEOUT, aws_causes.CONNECTION_FAULT}
    raise Failed(
        f"{result.code}: {result.message}",
        cause.remedy,
        Cause.UNREACHABLE if unanswered else Cause.SETUP,
    )


# botocore's errors when there was no answer; other errors only contain such words.
_UNREACHED: Final = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "ProxyConnectionError",
        "ReadTimeoutError",
    }
)
_UNREACHED_WORDS: Final = ("Could not connect to", "Connect timeout on", "Read timeout on")
_WEB_IDENTITY: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"
_CONTAINER: Final = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


def _no_identity(fault: identity.IdentityFault, role: str | None) -> Failed:
    message = str(fault)
    if fault.code == "NoCredentialsError":
        return Failed("no AWS credentials are found", aws_causes.NO_CREDENTIALS.remedy)
    if fault.code == "CredentialsTimeout":
        return Failed(message, aws_causes.CREDENTIALS_TIMEOUT.remedy, Cause.UNREACHABLE)
    if fault.code == "CredentialRetrievalError" and any(
        each in message for each in _UNREACHED_WORDS
    ):
        given = next((each for each in _CONTAINER if each in os.environ), None)
        fix = f", or correct {given}" if given else ""
        remedy = f"make the source of the role's credentials reachable from here{fix}"
        return Failed(message, remedy, Cause.UNREACHABLE)
    if fault.code in _UNREACHED:
        if role or _WEB_IDENTITY in os.environ:
            remedy = (
                "make STS reachable from here, or a VPC endpoint for it; or correct "
                "AWS_ENDPOINT_URL_STS or HTTPS_PROXY, if they are set"
            )
            return Failed(f"STS can't be reached: {message}", remedy, Cause.UNREACHABLE)
        return Failed(message, aws_causes.CREDENTIALS_TIMEOUT.remedy, Cause.UNREACHABLE)
    return _unreadable(fault) or _unusable(fault)


def _unusable(fault: identity.IdentityFault) -> Failed:
    return Failed(str(fault), aws_causes.of_identity(fault.code).remedy)


def _unreadable(error: Exception) -> Failed | None:
    """The failure for an unreadable file of the AWS set-up, if that is the cause of this error."""
    # botocore wraps some of these in an error of its own, which keeps the text.
    if not isinstance(error.__cause__, OSError) and "[Errno" not in str(error):
        return None
    for variable in ("AWS_CA_BUNDLE", _WEB_IDENTITY):
        path = os.environ.get(variable)
        try:
            if path:
                Path(path).read_bytes()
        except OSError as fault:
            return Failed(
                f"the file {path} that {variable} names can't be read: {fault.strerror}",
                f"correct {variable}, or put the file there",
            )
    return None


async def _reach(url: URL, remedy: str = "") -> Passed:
    host, port = url.host or "", url.port or 443
    try:
        addresses = await reach.lookup(host, STEP_SECONDS)
        address = await reach.connect(addresses, port, STEP_SECONDS)
        if url.scheme == "https":
            await reach.handshake(address, port, host, identity.trust(), STEP_SECONDS)
    except reach.Unreachable as fault:
        remedy = remedy or _REACH_REMEDIES[type(fault)]
        raise Failed(str(fault), remedy, Cause.UNREACHABLE) from fault
    except identity.IdentityFault as fault:
        raise _unreadable(fault) or _unusable(fault) from fault
    return Passed(f"{host}:{port} answers{', with TLS' if url.scheme == 'https' else ''}")


_REACH_REMEDIES: Final = {
    reach.UnknownName: ("correct WORKER_AWS__ENDPOINT_URL or WORKER_AWS__REGION, or check DNS"),
    reach.Untrusted: (
        "behind a proxy that inspects traffic set AWS_CA_BUNDLE to its authority; otherwise "
        "correct WORKER_AWS__ENDPOINT_URL"
    ),
    reach.Unreachable: (
        "open outgoing HTTPS to it, set HTTPS_PROXY or use a VPC endpoint; or correct "
        "WORKER_AWS__ENDPOINT_URL"
    ),
}
