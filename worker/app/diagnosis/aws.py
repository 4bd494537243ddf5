"""Checks of AWS: who we are, whether the endpoint can be reached, whether it accepts us."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from yarl import URL

from worker.adapters import reach
from worker.adapters.marketplace import identity, open_marketplace
from worker.app import refusals
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed, Passed, Skipped
from worker.app.parts import endpoint
from worker.core import faults
from worker.core.records import Fault, FaultKind, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.adapters.marketplace import Endpoint
    from worker.adapters.marketplace.signing import Identity
    from worker.settings import Settings

# No buyer's token: AWS calls it invalid as soon as it accepts who asks.
_MADE_UP: Final = Token.of("resolution-worker-check")


async def credentials(settings: Settings, keep: Callable[[str], None]) -> Passed:
    """There are credentials, and the role, where one is set, can be assumed.

    Args:
        settings: Whose AWS section counts.
        keep: Told what must not be shown.
    """
    where = endpoint(settings)
    try:
        async with asyncio.timeout(STEP_SECONDS):
            found = await identity.origin()
            if found is None:
                raise Failed(*refusals.NO_CREDENTIALS)
            _keep(await identity.identity(where), keep)
    except identity.IdentityFault as fault:
        raise Failed(str(fault), refusals.identity_remedy(fault.code)) from fault
    except TimeoutError as error:
        raise Failed(*refusals.CREDENTIALS_SILENT, Cause.UNREACHABLE) from error
    role = f", with which {where.role_arn} was assumed" if where.role_arn else ""
    return Passed(f"found in {found}{role}")


def _keep(found: Identity, keep: Callable[[str], None]) -> None:
    for secret in (found.secret_key, found.session_token):
        if secret:
            keep(secret)


async def account(settings: Settings) -> Passed:
    """The credentials are those of the account that is expected."""
    expected = settings.aws.expected_account
    if expected is None:
        raise Skipped("because WORKER_AWS__EXPECTED_ACCOUNT is not set")
    try:
        async with asyncio.timeout(STEP_SECONDS):
            await identity.identity(endpoint(settings), expected_account=expected)
    except identity.IdentityFault as fault:
        if fault.code == "WrongAccount":
            what, _, remedy = str(fault).partition(": ")
            raise Failed(what, remedy) from fault
        raise Failed(str(fault), refusals.STS) from fault
    except TimeoutError as error:
        raise Failed("STS can't be reached", refusals.STS, Cause.UNREACHABLE) from error
    return Passed(f"account {expected}, as STS says")


async def reachable(settings: Settings) -> Passed:
    """The endpoint's name can be resolved, its port answers, its certificate is trusted."""
    try:
        url = await identity.address(endpoint(settings))
        between = identity.proxy(url)
    except identity.IdentityFault as fault:
        raise Failed(str(fault), refusals.identity_remedy(fault.code)) from fault
    if between is None:
        return await _reach(URL(url))
    proxy = URL(between)
    passed = await _reach(proxy.with_scheme("http"), "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY")
    return Passed(f"{URL(url).host}, through the proxy {passed.detail}")


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
        raise Failed(str(fault), refusals.identity_remedy(fault.code)) from fault
    return Passed(f"{host}:{port} answers{', with TLS' if url.scheme == 'https' else ''}")


_REACH_REMEDIES: Final = {
    reach.UnknownName: (
        "correct WORKER_AWS__ENDPOINT_URL or WORKER_AWS__REGION, or the name service"
    ),
    reach.Untrusted: (
        "behind a proxy that inspects traffic set AWS_CA_BUNDLE to its authority; else correct "
        "WORKER_AWS__ENDPOINT_URL"
    ),
    reach.Unreachable: (
        "open outgoing HTTPS to it, set HTTPS_PROXY or use a VPC endpoint; or correct "
        "WORKER_AWS__ENDPOINT_URL"
    ),
}


async def call(settings: Settings) -> Passed:
    """AWS accepts who we are and what we ask: a made-up token is called invalid."""
    where = endpoint(settings)
    # Whose account it is has a check of its own.
    seconds = min(where.timeout_seconds, STEP_SECONDS)
    result = await _asked(replace(where, expected_account=None, timeout_seconds=seconds))
    if not isinstance(result, Fault):
        return Passed("ResolveCustomer answers")
    if result.kind is FaultKind.TOKEN:
        return Passed("ResolveCustomer accepts us: it called a made-up token invalid")
    if result.kind is FaultKind.THROTTLED:
        return Passed("ResolveCustomer accepts us", (f"it throttled this call ({result.code})",))
    unanswered = result.code in {faults.TIMEOUT, faults.CONNECTION_FAULT}
    raise Failed(
        f"{result.code}: {result.message}",
        refusals.call_remedy(result.code, result.message),
        Cause.UNREACHABLE if unanswered else Cause.SETUP,
    )


async def _asked(where: Endpoint) -> object:
    async with open_marketplace(where) as marketplace:
        return await marketplace.resolve(_MADE_UP)
