"""A replica that AWS refuses, or that can't reach it, beside a healthy one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.quota.figures import Figure
from harness.clocks import clock
from harness.marketplace import Marketplace, refusing
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.aws_cli import self_signed
from tests.fakes.aws import raw_aws, reply
from tests.neighbours.scenario import scenario
from tests.neighbours.watching import becomes, readiness
from tests.seeds import seeds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from harness.ground import Ground
    from harness.programs import Worker
    from tests.neighbours.scenario import Scenario

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_BUYERS_RATE: Final = 8
_START_SECONDS: Final = 15.0
_NOTICED_SECONDS: Final = 15.0
_MENDED_SECONDS: Final = 15.0
_LAST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sickness:
    """What is wrong with one of two replicas.

    Attributes:
        sick: The settings of the sick one.
        words: Of which its `/readyz` says at least one.
        healthy: The settings of the other.
    """

    sick: dict[str, str]
    words: tuple[str, ...]
    healthy: dict[str, str]


@asynccontextmanager
async def wrong_secret(_: Scenario) -> AsyncIterator[Sickness]:
    """The same access key with another secret."""
    yield Sickness({"AWS_SECRET_ACCESS_KEY": "mistyped"}, ("signature", "secret"), {})


@asynccontextmanager
async def untrusted_authority(on: Scenario) -> AsyncIterator[Sickness]:
    """AWS behind a proxy that opens TLS, whose authority one replica was not told of."""
    tls, certificate = self_signed(on.stage.home)
    async with proxy_to(on.simulator.url, tls=tls) as proxy:
        url = {"WORKER_AWS__ENDPOINT_URL": f"https://localhost:{proxy.url.rpartition(':')[2]}"}
        trusting = {**url, "AWS_CA_BUNDLE": str(certificate)}
        yield Sickness(url, ("certificate",), trusting)


@asynccontextmanager
async def wrong_clock(on: Scenario) -> AsyncIterator[Sickness]:
    """A clock that is off by more than the quarter of an hour that AWS allows."""
    yield Sickness(clock(on.chance.choice(("+20m", "-20m"))), ("clock",), {})


@asynccontextmanager
async def no_right_to_the_role(_: Scenario) -> AsyncIterator[Sickness]:
    """Both are to assume a role, and STS lets one of them."""
    role = {"WORKER_AWS__ROLE_ARN": "arn:aws:iam::123456789012:role/seller"}
    async with (
        raw_aws(reply(200, _ASSUMED, Content_Type="text/xml")) as granting,
        raw_aws(reply(403, _DENIED, Content_Type="text/xml")) as denying,
    ):
        yield Sickness(
            {**role, "AWS_ENDPOINT_URL_STS": denying.url},
            ("assumerole",),
            {**role, "AWS_ENDPOINT_URL_STS": granting.url},
        )


_ASSUMED: Final = b"""\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>simulator</AccessKeyId><SecretAccessKey>simulator</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/seller/worker</Arn>
<AssumedRoleId>A:worker</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"""
_DENIED: Final = b"""\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>User: arn:aws:iam::210987654321:user/worker is not authorized to
perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/seller</Message></Error>
</ErrorResponse>"""


async def _at_work(worker: Worker, words: tuple[str, ...]) -> None:
    """Wait until a replica that may be sick takes part, or says why it does not."""

    async def takes_part() -> bool:
        status, text = await worker.get("/readyz")
        return status == 200 or any(word in text.casefold() for word in words)

    await becomes(takes_part, _START_SECONDS)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize(
    "catching",
    [
        pytest.param(wrong_secret, marks=pytest.mark.neighbours_quick),
        untrusted_authority,
        wrong_clock,
        no_right_to_the_role,
    ],
    ids=lambda catching: catching.__name__,
)
async def test_one_of_two_replicas_is_sick(
    ground: Ground,
    seed: int,
    catching: Callable[[Scenario], AbstractAsyncContextManager[Sickness]],
    *,
    thorough: bool,
) -> None:
    """A replica that AWS refuses stops alone and says so; the buyers never notice."""
    count = 320 if thorough else 80
    name = f"sick replica, {catching.__name__.replace('_', ' ')}"
    async with scenario(ground, name, seed) as on, catching(on) as sickness:
        sick = on.start(**sickness.sick)
        healthy = await on.run(**sickness.healthy)
        await _at_work(sick, sickness.words)
        async with readiness(healthy) as well, readiness(sick) as ill:
            await on.buyers.bring(count, _BUYERS_RATE)
            await on.buyers.all_answered(_LAST_SECONDS)
        noticed = ill.first_named(sickness.words)
        at_last = ill.named(sickness.words, _LAST_SECONDS)
        on.conclude(
            [
                *await on.served(),
                Figure("healthy one ready", well.ready, "%", least=99),
                Figure("sick one says so after", noticed, "s", most=_NOTICED_SECONDS),
                Figure("sick one says so at last", at_last, "%", least=90),
            ]
        )


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_one_of_two_replicas_falls_sick_and_recovers(ground: Ground, seed: int) -> None:
    """A replica that AWS begins to refuse stops alone, and is back by itself once it is mended."""
    words = ("signature", "secret")
    refusal = refusing("InvalidSignatureException", _MISMATCH, 403)
    async with scenario(ground, "sick replica, for a while", seed) as on, AsyncExitStack() as stack:
        door = await stack.enter_async_context(Marketplace(on.simulator.url).serving())
        sick = await on.run(WORKER_AWS__ENDPOINT_URL=door.url)
        healthy = await on.run()
        async with readiness(healthy) as well, readiness(sick) as ill:
            buyers = asyncio.create_task(on.buyers.bring(30 * _BUYERS_RATE, _BUYERS_RATE))
            stack.callback(buyers.cancel)
            await eventually(lambda: door.calls, "the one that is to fall sick has called")
            await asyncio.sleep(on.chance.uniform(2, 4))
            door.fault, fell = refusal, len(ill.samples)
            await asyncio.sleep(10)
            door.fault, mended = None, asyncio.get_running_loop().time()
            named = any(one.names(words) for one in ill.samples[fell:])
            calls = len(door.calls)

            async def works() -> bool:
                return len(door.calls) > calls + 1 and ill.samples[-1].status == 200

            back = await becomes(works, _MENDED_SECONDS)
            took = asyncio.get_running_loop().time() - mended
            await buyers
            await on.buyers.all_answered(_LAST_SECONDS)
        on.conclude(
            [
                *await on.served(),
                Figure("healthy one ready", well.ready, "%", least=99),
                Figure("sick one said so", named, least=1),
                Figure("back after", took if back else float("inf"), "s", most=_MENDED_SECONDS),
            ]
        )


_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)
