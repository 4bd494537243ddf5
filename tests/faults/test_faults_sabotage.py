"""The suite itself: a worker with a defect built in is found out by the books."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from harness.history import Kind
from harness.waiting import eventually
from tests.seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    from harness.ground import Ground
    from harness.system import System

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

# Each is run by Python at the start of the worker, and puts one defect into it.
SABOTAGES = {
    "acks without a word": (
        Kind.EARLY_ACK,
        """
        from worker.runtime.token.acks import AckAfterConfirm
        put, count = AckAfterConfirm.put, iter(range(10**9))
        def quiet(self, delivery, messages, *rest, **more):
            put(self, delivery, () if next(count) % 9 == 0 else messages, *rest, **more)
        AckAfterConfirm.put = quiet
        """,
    ),
    "tells what is not committed": (
        Kind.EARLY_ACK,
        """
        from worker.adapters.postgres.ledger.ledger import PostgresLedger
        settle, count = PostgresLedger.settle, iter(range(10**9))
        async def forgetful(self, batch):
            return {} if next(count) % 3 == 0 else await settle(self, batch)
        PostgresLedger.settle = forgetful
        """,
    ),
    "mixes up who asked": (
        Kind.MISDIRECTED,
        """
        from dataclasses import replace
        from worker.core.token import outgoing
        answers, last = outgoing.answers, []
        def mixed(outcome, submission, *, repeated):
            last.append(submission.correlation_id)
            return answers(outcome, replace(submission, correlation_id=last[-2:][0]),
                           repeated=repeated)
        outgoing.answers = mixed
        """,
    ),
    "believes a publisher's clock": (
        Kind.WRONG,
        """
        from dataclasses import replace
        from worker.core.token import submissions
        parse = submissions.parse
        def believing(incoming, now, *rest):
            message, oddities = parse(incoming, now, *rest)
            if hasattr(message, "first_seen"):
                message = replace(message, first_seen=message.received_at)
            return message, oddities
        submissions.parse = believing
        """,
    ),
    "calls for what is known": (
        Kind.DOUBLED,
        """
        from worker.core.token import verdict
        verdict.before_call = lambda submission, *_, **__: verdict.Call(submission.first_seen)
        """,
    ),
    "says a token": (
        Kind.LEAKED,
        """
        import json, sys
        from worker.core.token import submissions
        parse = submissions.parse
        def chatty(incoming, now, *rest):
            message, oddities = parse(incoming, now, *rest)
            if hasattr(message, "token"):
                sys.stderr.write(json.dumps({"event": message.token.value}) + "\\n")
            return message, oddities
        submissions.parse = chatty
        """,
    ),
}


async def nothing_in_hand(system: System) -> bool:
    """Whether the worker is done with all messages that it took."""
    metrics = await system.worker.metrics()
    return not any(metrics["resolution_oldest_unsettled_seconds"].values())


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize("sabotage", SABOTAGES)
async def test_a_defect_is_found_out(
    ground: Ground, tmp_path: Path, sabotage: str, seed: int
) -> None:
    """Even without any fault around it, a worker that breaks a promise does not pass."""
    kind, code = SABOTAGES[sabotage]
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(code))
    async with ground.system(seed) as system:
        await system.run(PYTHONPATH=str(tmp_path))
        factory = system.factory
        some = [*factory.some(60), factory.by_another_clock()]
        (known,) = factory.of("ok-{n}", lane="live")
        await system.client.publish_all([known, *some], seconds=0.5)
        if kind is Kind.DOUBLED:
            await system.settled([known])
        await system.client.publish(factory.one(known.token or "", lane="live"))
        await system.empty()
        await eventually(lambda: nothing_in_hand(system), "nothing is in hand")

        findings = await system.findings()

        assert kind in {finding.kind for finding in findings}
