"""AWS that hangs, lies, breaks off or refuses us, for a while."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness import marketplace as aws
from harness.history import count
from harness.system import FaultCase, run_fault, tell
from harness.waiting import eventually
from tests.seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.ground import Ground
    from harness.marketplace import Answer
    from harness.system import System

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CODE = "ExpiredTokenException"
EXPIRED = "The security token included in the request is expired"


def answering(fault: Answer, seconds: float = 4.0) -> Callable[[System], Awaitable[None]]:
    """AWS answers so for a while."""

    async def hold(system: System) -> None:
        system.aws.fault = fault
        await asyncio.sleep(seconds)
        system.aws.fault = None
        assert system.aws.faulted, "no call met it"

    return hold


async def refused(system: System) -> None:
    """Nobody listens where AWS was, nor can anything that was there be reached any more."""
    await system.door.shut()
    await asyncio.sleep(4)
    await system.door.open()


CASES = [
    FaultCase("aws dripping", answering(aws.dripping)),
    FaultCase("aws never answering", answering(aws.hanging)),
    FaultCase("aws garbage", answering(aws.saying(b"<html>gateway</html>"))),
    FaultCase("aws truncating", answering(aws.truncating)),
    FaultCase("aws resetting", answering(aws.resetting)),
    FaultCase("aws 20 MB", answering(aws.endless, 2.0), settings={"WORKER_POOL__CONCURRENCY": "8"}),
    FaultCase("aws redirecting", answering(aws.saying({}, 307, Location="http://127.0.0.1:9/"))),
    FaultCase("aws credentials expired, 400", answering(aws.refusing(CODE, EXPIRED, 400))),
    FaultCase("aws credentials expired, 403", answering(aws.refusing(CODE, "no", 403))),
    FaultCase("aws denying", answering(aws.refusing("AccessDeniedException", "no", 400))),
    FaultCase("aws 503 without a body", answering(aws.saying(b"", 503))),
    FaultCase("aws echoing the token", answering(aws.echoing)),
    FaultCase("aws refusing connections", refused),
]
QUICK = {"aws credentials expired, 400"}


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.faults_quick] * (one.name in QUICK))
        for one in CASES
    ],
)
async def test_aws_out_of_order(ground: Ground, case: FaultCase, seed: int) -> None:
    """Whatever AWS says for a while, no token pays for it, and work goes on right after it."""
    async with ground.system(seed) as system:
        await run_fault(system, case, seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_nul_in_the_answer(ground: Ground, seed: int) -> None:
    """A NUL in AWS's answer, which no database can hold, stops nobody."""
    async with ground.system(seed) as system:
        account = "012345678901"
        nul = system.factory.of("ok-{n}", 3)
        licences = [f"arn:{n}-{seed}" for n in range(3)]
        nul = [
            replace(
                one,
                answer={
                    "customer_aws_account_id": account,
                    "license_arn": licence,
                    "agreement_id": None,
                },
            )
            for one, licence in zip(nul, licences, strict=True)
        ]
        for one, licence in zip(nul, licences, strict=True):
            assert one.token is not None
            system.aws.odd[one.token] = (
                b'{"ProductCode": "p", "CustomerIdentifier": "a\\u0000b",'
                b'"CustomerAWSAccountId": "%s", "LicenseArn": "%s",'
                b'"Metadata": {"AgreementId": "x\\u0000"}}' % (account.encode(), licence.encode())
            )

        async def publish(system: System) -> None:
            await system.client.publish_all(nul)
            await system.settled(nul)

        await run_fault(system, FaultCase("aws NUL in the answer", publish), seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_sigterm_while_aws_hangs(ground: Ground, seed: int) -> None:
    """A worker told to stop while AWS hangs stops in time, and gives back what it held."""
    async with ground.system(seed) as system:
        await system.run(WORKER_AWS__TIMEOUT="60s", WORKER_POOL__DRAIN="5s")
        some = system.factory.some(80)
        system.aws.fault = aws.hanging
        await system.client.publish_all(some, seconds=1.0)
        await eventually(lambda: system.aws.calls, "calls hang")

        began = asyncio.get_running_loop().time()
        system.worker.send(signal.SIGTERM)
        code = await system.worker.exit_code()
        took = asyncio.get_running_loop().time() - began
        system.aws.fault = None
        await system.run()
        recovered = await system.recovery()
        await system.settled(system.client.sent)
        await system.empty()
        findings = await system.findings()

        tell(
            f"fault='sigterm while aws hangs' seed={seed} recovery_s={recovered:.1f}"
            f" stop_s={took:.1f} sent={len(system.client.sent)} {count(findings)}"
        )
        assert code == 0
        assert took < 7
        assert findings == []
