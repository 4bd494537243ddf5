"""A replica among others: the lease, the pause, the breaker that all share."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping
from tests.fakes.records import POLICY
from tests.fakes.worker import FakeWorker, working
from worker.core import faults
from worker.core.fleet import Pause, Refusal, decayed
from worker.core.records import Answer, Fault, FaultKind
from worker.core.shortage import DESCRIPTORS

REFUSED = Fault(FaultKind.SYSTEMIC, "AccessDeniedException", "not you")
WRONG = Fault(FaultKind.SYSTEMIC, "WrongAccount", "another account")
SHORT = faults.systemic(DESCRIPTORS.code, DESCRIPTORS.what)
THROTTLED = Fault(FaultKind.THROTTLED, "ThrottlingException", "slower")
PAUSE = Pause("ada", "a migration", datetime(2026, 11, 22, tzinfo=UTC))


def refusal(worker: FakeWorker, identity: str) -> None:
    """Let the fleet know of a refusal."""
    worker.fleet.refusals[identity] = Refusal(REFUSED.code, REFUSED.message, datetime.now(UTC))


@leaping
async def test_a_pause_holds_calls_within_two_seconds_until_it_ends() -> None:
    """While an operator's pause stands nothing is called for, and then everything is."""
    async with working() as worker:
        worker.fleet.pause = PAUSE
        await asyncio.sleep(2)
        worker.deliver("t")
        await asyncio.sleep(60)
        assert worker.aws.calls == []
        assert worker.pipeline.gate.reasons == {"pause": "paused by ada: a migration"}
        worker.fleet.pause = None
        await worker.all_acked(2.0)
        assert worker.aws.tokens == ["t"]


@leaping
async def test_nothing_is_called_for_before_the_first_lease() -> None:
    """With the fleet out of reach from the start nobody knows of a pause: calls wait."""
    async with working() as worker:
        worker.fleet.away = "down"
        worker.deliver("t")
        await asyncio.sleep(30)
        assert worker.aws.calls == []
        worker.fleet.away = None
        await worker.all_acked(2.0)


@leaping
async def test_a_share_that_can_not_be_renewed_decays() -> None:
    """When the fleet is out of reach calls go on at the last share, slower and slower."""
    async with working(ceiling=100.0) as worker:
        await asyncio.sleep(1)
        worker.fleet.away = "down"
        await asyncio.sleep(1)
        assert 99 < worker.pipeline.pacer.local() <= 100
        await asyncio.sleep(20)
        assert 5 <= worker.pipeline.pacer.local() < 15
        worker.deliver("t")
        await worker.all_acked(2.0)


def test_decay() -> None:
    """The whole share for three seconds, then half in five, down to a twentieth."""
    assert decayed(100, 3) == 100
    assert decayed(100, 8) == 50
    assert decayed(100, 13) == 25
    assert decayed(100, 1e9) == 5


@leaping
async def test_reports_that_did_not_go_through_are_told_later() -> None:
    """No call is forgotten while the fleet is out of reach."""
    async with working() as worker:
        await asyncio.sleep(2)
        worker.fleet.away = "down"
        worker.aws.script("throttled", THROTTLED, Answer("p", "1"))
        for token in ("a", "b", "throttled"):
            worker.deliver(token)
        await worker.all_acked()
        await asyncio.sleep(10)
        worker.fleet.away = None
        await asyncio.sleep(2)
        reports = worker.fleet.reports
        assert sum(report.calls for report in reports) == 4
        assert sum(report.successes for report in reports) == 3
        assert sum(report.throttled for report in reports) == 1


@leaping
async def test_a_replica_that_waits_for_permits_needs_all_it_can_get() -> None:
    """The need is infinite while tokens wait for the pace, and small when idle."""
    async with working(ceiling=5.0) as worker:
        for number in range(30):
            worker.deliver(f"t{number}")
        await asyncio.sleep(3)
        assert worker.fleet.reports[-1].need == float("inf")
        await worker.all_acked()
        await asyncio.sleep(5)
        assert worker.fleet.reports[-1].need == 0


@leaping
async def test_single_permits_are_kept_apart() -> None:
    """At a low rate each call has a permit of the fleet's own, evenly spaced."""
    async with working(ceiling=0.5) as worker:
        worker.fleet.singly = True
        for number in range(10):
            worker.deliver(f"t{number}")
        await worker.all_acked()
        times = [called for called, _ in worker.aws.calls]
        assert all(b - a == pytest.approx(2.0, abs=0.01) for a, b in pairwise(times))


@leaping
async def test_a_single_permit_is_void_once_the_rate_has_risen() -> None:
    """Who waits a long time for a permit does not go on waiting when the rate is raised."""
    async with working(ceiling=0.01) as worker:
        worker.fleet.singly = True
        for number in range(10):
            worker.deliver(f"t{number}")
        await asyncio.sleep(5)
        assert len(worker.aws.calls) == 1
        worker.fleet.rate, worker.fleet.singly = 100.0, False
        await worker.all_acked(3.0)


@leaping
async def test_the_fleet_does_not_hear_of_a_fault_that_follows_one_token() -> None:
    """A refusal that a probe does not meet is over with the probe; others are not stopped."""
    async with working(concurrency=2) as worker:
        worker.aws.latency = 0.01
        worker.aws.script("denied", REFUSED)
        told: list[str] = []
        refuse = worker.fleet.refuse

        async def note(identity: str, fault: Fault) -> None:
            told.append(fault.code)
            await refuse(identity, fault)

        worker.fleet.refuse = note  # type: ignore[method-assign]
        worker.deliver("denied")
        for number in range(10):
            worker.deliver(f"t{number}")
        await worker.all_acked(5.0)
        assert told == []


@leaping
async def test_the_fleet_hears_of_a_fault_that_meets_the_probe_too() -> None:
    """A refusal of all is told at once, and taken back when a probe is answered."""
    async with working() as worker:
        worker.aws.probes = deque([REFUSED] * 3)
        worker.aws.script("t", REFUSED, Answer("p", "1"))
        worker.deliver("t")
        await asyncio.sleep(0.5)
        assert worker.fleet.refusals["somebody"].code == REFUSED.code
        await worker.all_acked()
        assert worker.fleet.refusals == {}
        assert len(worker.aws.probed) == 4


@leaping
async def test_what_the_fleet_knows_stops_a_replica_that_has_met_nothing() -> None:
    """A refusal that another replica has met holds calls here, and its end lets them go."""
    async with working() as worker:
        refusal(worker, "somebody")
        worker.fleet._next_probe = float("inf")  # the others look
        await asyncio.sleep(2)
        worker.deliver("t")
        await asyncio.sleep(30)
        assert (worker.aws.calls, worker.aws.probed) == ([], [])
        assert worker.pipeline.breaker.refused is not None
        worker.fleet.refusals.clear()
        await worker.all_acked(2.0)
        assert worker.aws.renewals == 1  # what was mended may be the credentials


@leaping
async def test_another_identity_looks_before_its_first_call() -> None:
    """Where somebody else is refused a new replica probes once, and calls if it is accepted."""
    async with working() as worker:
        refusal(worker, "somebody else")
        worker.deliver("t")
        await worker.all_acked(2.0)
        assert len(worker.aws.probed) == 1
        assert worker.aws.tokens == ["t"]


@leaping
async def test_another_identity_that_is_refused_as_well_spends_no_token() -> None:
    """If the new identity is refused too, its fault is told and no token was called for."""
    async with working() as worker:
        refusal(worker, "somebody else")
        worker.aws.probes = deque([REFUSED] * 4)
        worker.deliver("t")
        await asyncio.sleep(3)
        assert worker.aws.calls == []
        assert set(worker.fleet.refusals) == {"somebody", "somebody else"}
        await worker.all_acked()


@leaping
async def test_calls_resume_gently() -> None:
    """After a refusal of all calls begin at a quarter of the share, and are back soon."""
    async with working(ceiling=40.0, concurrency=50) as worker:
        refusal(worker, "somebody")
        for number in range(200):
            worker.deliver(f"t{number}")
        await asyncio.sleep(5)
        worker.fleet.refusals.clear()
        await asyncio.sleep(1.5)
        began = worker.aws.calls[0][0]
        early = [at for at, _ in worker.aws.calls if at < began + 0.5]
        assert len(early) <= 8
        await asyncio.sleep(4)
        assert worker.pipeline.pacer.local() == 40


@leaping
async def test_a_drain_gives_the_share_back() -> None:
    """A replica that ends leaves its share to the others at once."""
    async with working() as worker:
        await asyncio.sleep(1)
        await worker.pipeline.drain(5.0)
        assert worker.fleet.left == 1


@leaping
async def test_a_throttled_replica_slows_down_at_once() -> None:
    """Before the shared rate has followed."""
    async with working(ceiling=40.0, concurrency=50) as worker:
        await asyncio.sleep(1)
        worker.aws.script("t", THROTTLED, THROTTLED, Answer("p", "1"))
        worker.deliver("t")
        await asyncio.sleep(0.1)
        assert worker.pipeline.pacer.local() < 40
        await worker.all_acked()


@leaping
async def test_each_opening_is_looked_into_and_holds_calls() -> None:
    """A breaker that opens again at once after it closed behaves as the first time."""
    async with working(concurrency=1) as worker:
        for number in range(5):
            worker.aws.script(f"t{number}", REFUSED, Answer("p", "1"))
            worker.deliver(f"t{number}")
        for _ in range(100):
            await asyncio.sleep(0.05)
            is_open = worker.pipeline.breaker.fault is not None
            assert is_open == ("aws" in worker.pipeline.gate.reasons)
        assert len(worker.aws.probed) == 5
        assert worker.fleet.refusals == {}
        await worker.all_acked(1.0)


@leaping
async def test_a_fault_is_told_without_tokens() -> None:
    """Whoever refuses a probe may repeat any token; neither gate nor fleet hears it."""
    async with working() as worker:
        odd = Fault(FaultKind.SYSTEMIC, "AccessDeniedException", "secret-token is odd")
        worker.aws.probes = deque([odd] * 3)
        worker.aws.script("secret-token", odd, Answer("p", "1"))
        worker.deliver("secret-token")
        await asyncio.sleep(1)
        assert worker.fleet.refusals["somebody"].message == "[hidden] is odd"
        assert "secret-token" not in worker.pipeline.gate.reasons["aws"]
        await worker.all_acked()


@leaping
async def test_a_broken_identity_is_told_before_the_first_token() -> None:
    """Who can't say who it is, or is another account, is stopped at start, until that is mended."""
    worker = FakeWorker(POLICY, 8, None)
    worker.aws.unconfirmed = WRONG
    worker.aws.probes = deque([WRONG] * 5)
    running = asyncio.create_task(worker.pipeline.run())
    await worker.pipeline.membership.joined.wait()
    stopped = [worker.pipeline.breaker.refused]
    worker.deliver("t")
    await asyncio.sleep(1)
    assert worker.aws.calls == []
    await worker.all_acked()
    stopped.append(worker.pipeline.breaker.refused)
    assert stopped == [WRONG, None]
    assert worker.fleet.refusals == {}
    running.cancel()
    await asyncio.wait([running])


@leaping
async def test_a_sound_identity_costs_no_call_at_start() -> None:
    """Where the identity is confirmed nothing is asked of AWS before the first token."""
    async with working() as worker:
        await asyncio.sleep(5)
        assert (worker.aws.probed, worker.aws.calls) == ([], [])
        assert worker.pipeline.breaker.fault is None


@leaping
async def test_a_lease_that_can_not_be_had_is_told() -> None:
    """At start at once, later after five seconds; each minute in the log; until the next lease."""
    worker = FakeWorker(POLICY, 8, None)
    said: list[str | None] = []
    heard: list[str | None] = []
    worker.pipeline.membership.report = said.append

    async def hear(seconds: float, away: str | None) -> None:
        worker.fleet.away = away
        await asyncio.sleep(seconds)
        heard.append(said[-1])

    with capture_logs() as logs:
        worker.fleet.away = "lacks a right; run grants.sql"
        running = asyncio.create_task(worker.pipeline.run())
        await hear(1, "lacks a right; run grants.sql")
        await hear(2, None)
        await hear(4, "down")
        await hear(3, "down")
        logs.clear()
        await hear(180, "down")
        assert [line["event"] for line in logs].count("lease_not_renewed") == 3
        await hear(2, None)
    words = "no share of the rate can be had"
    down = f"{words}: down"
    assert heard == [f"{words}: lacks a right; run grants.sql", None, None, down, down, None]
    running.cancel()
    await asyncio.wait([running])


@leaping
async def test_a_shortage_of_our_own_is_nobody_elses_and_no_tokens() -> None:
    """Who has no descriptors left stops by itself, tells no other replica, and spends no token."""
    async with working(concurrency=4) as worker:
        told: list[str] = []

        async def note(identity: str, fault: Fault) -> None:
            told.append(f"{identity}: {fault.code}")

        worker.fleet.refuse = note  # type: ignore[method-assign]
        for number in range(4):
            worker.aws.script(f"t{number}", *[SHORT] * 6, Answer("p", str(number)))
        worker.aws.probes = deque([SHORT] * 3)
        for number in range(4):
            worker.deliver(f"t{number}")
            worker.deliver(f"fine{number}")
        await asyncio.sleep(0.5)
        assert worker.pipeline.breaker.refused == SHORT
        await worker.all_acked()
        outcomes = [worker.event(delivery) for delivery in worker.deliveries]
        assert {each["status"] for each in outcomes} == {"resolved"}
        assert told == []
        assert worker.pipeline.breaker.fault is None
