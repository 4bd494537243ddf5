"""`/readyz` says what keeps a replica from working before a token has to find out."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from tests.acceptance.outcomes import tokens
from tests.fakes.aws import raw_aws, reply

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier

EXPECTED = "999900001111"


def whoami(account: str) -> bytes:
    """What STS says of whoever asks."""
    return reply(
        200,
        "<GetCallerIdentityResponse><GetCallerIdentityResult>"
        f"<Account>{account}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>".encode(),
        Content_Type="text/xml",
    )


@pytest.mark.long
async def test_another_account_is_told_before_the_first_token(
    stage: Installation, web: WebTier
) -> None:
    """Keys of another account than expected keep a worker from being ready until mended."""
    async with raw_aws(whoami("111122223333")) as sts:
        worker = stage.start(AWS_ENDPOINT_URL_STS=sts.url, WORKER_AWS__EXPECTED_ACCOUNT=EXPECTED)
        said = await worker.unready("aws", "WrongAccount", "111122223333")
        assert EXPECTED in said
        assert await stage.simulator.calls() == 0
        message_id = await web.submit(*tokens("ok", 1))
        sts.answer(whoami(EXPECTED))
        await worker.ready()
        assert (await web.event(message_id)).status == "resolved"


@pytest.mark.long
async def test_the_expected_account_costs_no_call(stage: Installation) -> None:
    """With the right account a worker is ready, and has called AWS for nothing."""
    async with raw_aws(whoami(EXPECTED)) as sts:
        await stage.run(AWS_ENDPOINT_URL_STS=sts.url, WORKER_AWS__EXPECTED_ACCOUNT=EXPECTED)
        assert len(sts.received) == 1
    assert await stage.simulator.calls() == 0


@pytest.mark.long
async def test_malformed_credentials_are_told_before_the_first_token(stage: Installation) -> None:
    """A line break in a key is told at start."""
    worker = stage.start(AWS_SECRET_ACCESS_KEY="simulator\n")
    await worker.unready("aws", "ends with a line break")
    assert await stage.simulator.calls() == 0


@pytest.mark.long
async def test_a_lease_that_is_not_granted_is_told(stage: Installation, web: WebTier) -> None:
    """Without a right on the quota `/readyz` names it, at start and later, until it is granted."""
    revoke = "REVOKE ALL ON resolution.quota FROM resolution_worker"
    grant = "GRANT SELECT, INSERT, UPDATE ON resolution.quota TO resolution_worker"
    await stage.schema.execute(revoke)
    worker = stage.start()
    await worker.unready('"fleet":"no share of the rate', "quota", "grants.sql")
    assert await worker.metric("resolution_fault", part="fleet") == 1
    await stage.schema.execute(grant)
    await worker.ready()

    await stage.schema.execute(revoke)
    await worker.unready('"fleet":"no share of the rate', "grants.sql")
    await stage.schema.execute(grant)
    await worker.ready()
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"


@pytest.mark.long
async def test_too_few_descriptors_cost_no_attempt(stage: Installation, web: WebTier) -> None:
    """A worker short of descriptors says so, stops by itself, and resolves all in the end."""
    worker = await stage.run()
    pid = worker.process.pid
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    inherited = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert inherited[0] == inherited[1]
    most = max(int(entry) for entry in os.listdir(f"/proc/{pid}/fd")) + 4  # noqa: PTH208
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, inherited[1]))
    ids = [await web.submit(token) for token in tokens("slow-700", 60)]

    await eventually(lambda: worker.logged("calls_stopped"), "calls are stopped")
    stopped = worker.logged("calls_stopped")[0]
    assert stopped["code"] == "DescriptorsUsedUp"
    assert "ulimit -n" in stopped["remedy"]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, inherited)
    statuses = {(await web.event(message_id)).status for message_id in ids}
    await worker.ready()

    assert statuses == {"resolved"}
    rows = await stage.schema.rows("SELECT attempts FROM resolution.outcomes")
    assert {row["attempts"] for row in rows} == {1}
    assert "WORKER_POSTGRES__DSN" not in worker.said


@pytest.mark.long
async def test_a_low_limit_is_raised_or_told(stage: Installation) -> None:
    """The soft limit is raised to the hard one; if that is too low the log says so at start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # which a worker inherits
    try:
        worker = await stage.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)[0] == hard
    assert not worker.logged("few_descriptors")

    short = stage.start()
    resource.prlimit(short.process.pid, resource.RLIMIT_NOFILE, (120, 120))
    await short.ready()
    (told,) = short.logged("few_descriptors")
    assert (told["limit"], told["wanted"]) == (120, 164)
    assert "ulimit -n" in told["remedy"]
