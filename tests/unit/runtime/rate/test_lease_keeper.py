"""A replica among others: the lease, the pause, the breaker that all share."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping, until
from tests.fakes.records import POLICY
from tests.fakes.worker import FakeWorker, working
from worker.core import aws_errors
from worker.core.rate.fleet import Pause, ReplicaState, decayed
from worker.core.records import Answer, Fault, FaultKind, Lane
from worker.core.shortage import DESCRIPTORS

REFUSED = Fault(FaultKind.SYSTEMIC, "AccessDeniedException", "not you")
WRONG = Fault(FaultKind.SYSTEMIC, "WrongAccount", "another account")
SHORT = aws_errors.systemic(DESCRIPTORS.code, DESCRIPTORS.what)
THROTTLED = Fault(FaultKind.THROTTLED, "ThrottlingException", "slower")
PAUSE = Pause("ada", "a migration", datetime(2026, 11, 22, tzinfo=UTC))


def another(worker: FakeWorker, refusal: Fault | None, accepted: float | None = None) -> None:
    """Let another replica tell of itself: why AWS refuses it, or when it was last accepted."""
    now = asyncio.get_running_loop().time()
    worker.fleet.states["another"] = (now, ReplicaState("", refusal, accepted_seconds=accepted))


@leaping
async def test_a_pause_holds_calls_within_two_seconds_until_it_ends() -> None:
    """While an operator's pause stands nothing is called for, and then everything is."""
    async with working() as worker:
        worker.fleet.pause = PAUSE
        await asyncio.sleep(2)
        worker.deliver("t")
        await asyncio.sleep(60)
        assert worker.aws.calls == []
        assert worker.replica.gate.reasons == {"pause": "paused by ada: a migration"}
        worker.fleet.pause = None
        await worker.all_acked(2.0)
        assert worker.aws.tokens == ["t"]


@leaping
async def test_queues_that_are_unknown_are_not_reported_as_empty() -> None:
    """Without a broker a replica knows what is in its hand, and not what waits."""
    async with working() as worker:

        async def told() -> tuple[int | None, int | None]:
            await asyncio.sleep(2)
            _, state = worker.fleet.states["first"]
            return state.live, state.bulk

        worker.queued |= {Lane.LIVE: 5, Lane.BACKLOG: 7, Lane.CROWD: 9}
        assert await told() == (5, 16)
        del worker.queued[Lane.CROWD]
        assert await told() == (5, None)
        worker.queued.clear()
        assert await told() == (None, None)


@leaping
async def test_a_pause_says_when_it_ends() -> None:
    """Log and gate tell until when calls are paused, where the pause ends by itself."""
    async with working() as worker:
        with capture_logs() as logged:
            worker.fleet.pause = replace(PAUSE, until=datetime(2026, 11, 22, 0, 30, tzinfo=UTC))
            await asyncio.sleep(2)
        (told,) = (line for line in logged if line["event"] == "calls_paused")
        assert told["until"] == "2026-11-22T00:30:00+00:00"
        words = "paused by ada, until 2026-11-22 00:30:00 UTC: a migration"
        assert worker.replica.gate.reasons == {"pause": words}


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
        assert 99 < worker.replica.pacer.local() <= 100
        await asyncio.sleep(20)
        assert 5 <= worker.replica.pacer.local() < 15
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
    """A refusal that a probe does not meet is over with the probe: nobody else is told."""
    async with working(concurrency=2) as worker:
        worker.aws.latency = 0.01
        worker.aws.script("denied", REFUSED)
        worker.deliver("denied")
        for number in range(100):
            worker.deliver(f"t{number}")
            await asyncio.sleep(0.1)
            assert worker.fleet.refused == set()
        await worker.all_acked(5.0)


@leaping
async def test_the_fleet_hears_of_a_fault_that_meets_the_probe_too() -> None:
    """A refusal that a probe meets as well is told at once, and taken back when one is accepted."""
    async with working() as worker:
        worker.aws.probes = deque([REFUSED] * 3)
        worker.aws.script("t", REFUSED, Answer("p", "1"))
        worker.deliver("t")
        await asyncio.sleep(0.1)
        assert worker.fleet.refused == {"first"}
        await worker.all_acked()
        await asyncio.sleep(0.1)
        assert worker.fleet.refused == set()
        assert len(worker.aws.probed) == 4


@leaping
async def test_another_replicas_refusal_stops_nobody_else() -> None:
    """AWS refuses another replica: this one looks before its first call, and goes on."""
    async with working() as worker:
        another(worker, REFUSED)
        worker.deliver("t")
        await worker.all_acked(2.0)
        another(worker, REFUSED)
        await asyncio.sleep(3)
        worker.deliver("u")
        await worker.all_acked(1.0)
        assert len(worker.aws.probed) == 1
        assert worker.aws.tokens == ["t", "u"]


@leaping
async def test_a_new_replica_that_is_refused_as_well_spends_no_token() -> None:
    """If another is refused and this one's first probe too, no token was called for."""
    async with working() as worker:
        another(worker, REFUSED)
        worker.aws.probes = deque([REFUSED] * 4)
        worker.deliver("t")
        await asyncio.sleep(3)
        assert worker.aws.calls == []
        assert worker.fleet.refused == {"first", "another"}
        await worker.all_acked()


@leaping
async def test_a_replica_that_is_refused_alone_gives_its_tokens_to_the_others() -> None:
    """With another able to call, what waits here goes back to its lane within a second."""
    async with working() as worker:
        another(worker, None, accepted=0.0)
        worker.aws.probes = deque([REFUSED] * 1000)
        for number in range(20):
            worker.aws.script(f"t{number}", REFUSED)
            worker.deliver(f"t{number}")
        await worker.all_acked(1.0)
        assert worker.replica.breaker.state.stands_aside
        for delivery in worker.deliveries:
            assert worker.moved(delivery) == [("resolution.internal", "token")]
        worker.deliver("late")
        await worker.all_acked(1.0)
        assert "late" not in worker.aws.tokens
        began = len(worker.aws.probed)
        for _ in range(60):
            another(worker, None, accepted=0.0)
            await asyncio.sleep(1)
        assert worker.replica.breaker.state.alone
        assert len(worker.aws.probed) - began <= 8, "its probes are taken from the others' quota"


@leaping
async def test_a_fault_that_was_everybodys_is_over_for_all_at_once() -> None:
    """All were refused; once another is accepted this one looks without waiting for its turn."""
    async with working() as worker:
        another(worker, REFUSED)
        worker.aws.probes = deque([REFUSED] * 8)
        worker.deliver("t")
        await until(lambda: len(worker.aws.probed) == 8)
        assert not worker.replica.breaker.state.stands_aside
        another(worker, None, accepted=0.0)
        await worker.all_acked(1.3)
        assert len(worker.aws.probed) == 9


@leaping
async def test_calls_resume_gently() -> None:
    """After a refusal calls begin at a quarter of the share, and are back soon."""
    async with working(ceiling=40.0, concurrency=50) as worker:
        another(worker, REFUSED)
        worker.aws.probes = deque([REFUSED] * 2)
        for number in range(200):
            worker.deliver(f"t{number}")
        await until(lambda: bool(worker.aws.calls))
        began = worker.aws.calls[0][0]
        await asyncio.sleep(1)
        early = [at for at, _ in worker.aws.calls if at < began + 0.5]
        assert len(early) <= 8
        await asyncio.sleep(4)
        assert worker.replica.pacer.local() == 40


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
        assert worker.replica.pacer.local() < 40
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
            is_open = worker.replica.breaker.fault is not None
            assert is_open == ("aws" in worker.replica.gate.reasons)
        assert len(worker.aws.probed) == 5
        assert worker.fleet.refused == set()
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
        told = worker.fleet.states["first"][1].refusal
        assert told is not None
        assert told.message == "[hidden] is odd"
        assert "secret-token" not in worker.replica.gate.reasons["aws"]
        await worker.all_acked()


@leaping
async def test_a_broken_identity_is_told_before_the_first_token() -> None:
    """Who can't say who it is, or is another account, is stopped at start, until that is mended."""
    worker = FakeWorker(POLICY, 8, None)
    worker.aws.unconfirmed = WRONG
    worker.aws.probes = deque([WRONG] * 5)
    running = asyncio.create_task(worker.pipeline.run())
    await worker.replica.lease_keeper.joined.wait()
    stopped = [worker.replica.breaker.refused]
    worker.deliver("t")
    await asyncio.sleep(1)
    assert worker.aws.calls == []
    await worker.all_acked()
    stopped.append(worker.replica.breaker.refused)
    assert stopped == [WRONG, None]
    running.cancel()
    await asyncio.wait([running])


@leaping
async def test_the_lease_does_not_wait_for_credentials() -> None:
    """While it is not known who calls, leases go on, a pause is heard, and no call is made."""
    worker = FakeWorker(POLICY, 8, None)
    worker.aws.confirming_seconds = 60.0
    said = worker.lease_reports
    running = asyncio.create_task(worker.pipeline.run())
    worker.deliver("t")
    await asyncio.sleep(30)
    assert len(worker.fleet.reports) >= 30 / 1.2
    assert "has not answered yet" in (said[-1] or "")
    worker.fleet.pause = PAUSE
    await asyncio.sleep(2)
    assert "pause" in worker.replica.gate.reasons
    worker.fleet.pause = None
    await asyncio.sleep(27)
    assert not worker.replica.lease_keeper.joined.is_set()
    assert worker.aws.calls == []
    await worker.all_acked(2.0)
    assert said[-1] is None
    running.cancel()
    await asyncio.wait([running])


@leaping
async def test_a_drain_does_not_wait_for_credentials() -> None:
    """A replica that does not know yet who it is ends at once, and gives its share back."""
    worker = FakeWorker(POLICY, 8, None)
    worker.aws.confirming_seconds = 60.0
    running = asyncio.create_task(worker.pipeline.run())
    await asyncio.sleep(5)
    await worker.pipeline.drain(5.0)
    await running
    assert asyncio.get_running_loop().time() < 6
    assert worker.fleet.left == 1


@leaping
async def test_a_sound_identity_costs_no_call_at_start() -> None:
    """Where the identity is confirmed nothing is asked of AWS before the first token."""
    async with working() as worker:
        await asyncio.sleep(5)
        assert (worker.aws.probed, worker.aws.calls) == ([], [])
        assert worker.replica.breaker.fault is None


@leaping
async def test_a_lease_that_can_not_be_had_is_told() -> None:
    """At start at once, later after five seconds; each minute in the log; until the next lease."""
    worker = FakeWorker(POLICY, 8, None)
    said = worker.lease_reports
    heard: list[str | None] = []

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
    words = "no lease of the shared rate"
    down = f"{words}: down"
    assert heard == [f"{words}: lacks a right; run grants.sql", None, None, down, down, None]
    running.cancel()
    await asyncio.wait([running])


@leaping
async def test_a_shortage_of_our_own_is_nobody_elses_and_no_tokens() -> None:
    """Who has no descriptors left stops by itself, tells no other replica, and spends no token."""
    async with working(concurrency=4) as worker:
        for number in range(4):
            worker.aws.script(f"t{number}", *[SHORT] * 6, Answer("p", str(number)))
        worker.aws.probes = deque([SHORT] * 3)
        for number in range(4):
            worker.deliver(f"t{number}")
            worker.deliver(f"fine{number}")
        await asyncio.sleep(0.5)
        assert worker.replica.breaker.refused == SHORT
        await worker.all_acked()
        outcomes = [worker.event(delivery) for delivery in worker.deliveries]
        assert {each["status"] for each in outcomes} == {"resolved"}
        assert worker.replica.breaker.fault is None
