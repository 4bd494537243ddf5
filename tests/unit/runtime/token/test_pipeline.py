"""The way of a token through the runtime, between stand-ins and on virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.clock import leaping, settle
from tests.fakes.outside import FakeDelivery
from tests.fakes.records import POLICY, body, fault, submission
from tests.fakes.worker import FakeWorker, working
from worker.core import aws_errors
from worker.core.dead_letters import remedies
from worker.core.records import (
    Answer,
    Fault,
    FaultKind,
    Lane,
    LetterReason,
    Outcome,
    Status,
    Submission,
    Token,
)
from worker.core.timestamps import format_time
from worker.core.token.headers import headers
from worker.core.token.incoming import (
    KEPT_OF_TOO_LARGE_BYTES,
    MAX_BODY_BYTES,
    Death,
    Incoming,
    derived_id,
)
from worker.core.token.refused_rows import KeptAs
from worker.core.token.replies import Loss
from worker.core.token.submissions import parse
from worker.core.token.systemic_answers import SystemicAnswers
from worker.core.token.verdict import FAILURE_MEMORY, Policy
from worker.runtime.token.in_flight import InFlight, Waiter

UNREACHED = aws_errors.systemic("NotConnected", "there is no connection")
UNTRUSTED = aws_errors.systemic("CertificateNotTrusted", "not trusted")
TRANSIENT = fault(FaultKind.TRANSIENT, "Timeout", "no answer")
THROTTLED = fault(FaultKind.THROTTLED, "ThrottlingException", "slow down")
SYSTEMIC = fault(FaultKind.SYSTEMIC, "AccessDeniedException", "not you")
REJECTED = Fault(FaultKind.TOKEN, "InvalidTokenException", "no such token", Status.REJECTED)


def loop_time() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


def known(token: str, status: Status = Status.RESOLVED, **members: object) -> Outcome:
    """What stands of a token as of now."""
    now = datetime.now(UTC)
    settled = Outcome(submission(token).key, status, "first", 1, received_at=now, settled_at=now)
    if status is Status.RESOLVED:
        settled = replace(settled, product_code="p", customer_identifier="c")
    return replace(settled, **members)  # type: ignore[arg-type]


# --- one token ---


@leaping
async def test_a_token_is_called_for_stored_answered_and_acked() -> None:
    """The straight way: one call, one commit, one event and one reply, then one ack."""
    async with working() as worker:
        delivery = worker.deliver("ok", reply_to="resolution.reply.x", correlation_id="c")
        await worker.all_acked()
        assert worker.aws.tokens == ["ok"]
        assert worker.ledger.outcomes[submission("ok").key].status is Status.RESOLVED
        event = worker.event(delivery)
        assert (event["status"], event["repeated"]) == ("resolved", False)
        (reply,) = worker.publisher.to("resolution.answers")
        assert (reply.routing_key, reply.correlation_id) == ("resolution.reply.x", "c")
        assert delivery.acks == 1
        assert worker.telemetry.outcomes == {("resolved", Lane.LIVE, False): 1}
        assert worker.telemetry.submissions == {Lane.LIVE: 1}
        assert worker.telemetry.calls == {"ok": 1}
        assert worker.secrets.known == ["ok"]
        assert loop_time() == 0.0


@leaping
async def test_what_aws_says_of_one_token_tells_no_other() -> None:
    """Whoever answers may repeat anybody's token: it is in no answer, letter or ledger."""
    async with working() as worker:
        odd = replace(REJECTED, message="no such token: another-buyers-token")
        worker.aws.script("odd-token", odd)
        other = worker.deliver("another-buyers-token")
        delivery = worker.deliver("odd-token")
        await worker.all_acked()
        assert worker.event(other)["status"] == "resolved"
        told = worker.event(delivery)["error"]
        assert told == {"code": "InvalidTokenException", "message": "no such token: [hidden]"}
        batches = worker.ledger.batches
        words = [each.error_message for batch in batches for each in batch.outcomes]
        words += [each.error_message for batch in batches for each in batch.letters]
        words = [each for each in words if each]
        assert words == ["no such token: [hidden]"] * 2  # the outcome and its letter


@leaping
async def test_nothing_is_said_before_it_is_committed() -> None:
    """While the ledger can't write nobody is told and nothing is acked."""
    async with working() as worker:
        worker.aws.latency = 1.0
        delivery = worker.deliver("ok")
        await asyncio.sleep(0.5)
        worker.ledger.outage = "down"
        await asyncio.sleep(30)
        assert (worker.publisher.sent, delivery.acks) == ([], 0)
        assert worker.replica.gate.reasons == {"ledger": "down"}
        worker.ledger.outage = None
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "resolved"
        assert worker.aws.tokens == ["ok"]


@leaping
async def test_a_token_that_is_known_costs_no_call() -> None:
    """A resolved token is answered from the ledger, as repeated, without call or commit."""
    async with working() as worker:
        stands = known("ok")
        worker.ledger.outcomes[stands.key] = stands
        delivery = worker.deliver("ok")
        await worker.all_acked()
        event = worker.event(delivery)
        assert (event["status"], event["repeated"]) == ("resolved", True)
        assert (worker.aws.calls, worker.ledger.batches) == ([], [])


@leaping
async def test_a_token_past_its_lifetime_costs_no_call() -> None:
    """A token that we saw first longer ago than its lifetime is expired without a call."""
    async with working() as worker:
        seen = datetime.now(UTC) - timedelta(hours=4, seconds=1)
        ours = headers(submission(received_at=seen, first_seen=seen), attempts=0, returns=0)
        delivery = worker.deliver("ok", headers=ours, internal=True)
        await worker.all_acked()
        event = worker.event(delivery)
        assert (event["status"], event["error"]["code"]) == ("expired", "LifetimeExceeded")
        assert worker.aws.calls == []
        assert worker.telemetry.losses == {Loss.OUTLIVED: 1}


@leaping
async def test_a_token_that_grows_too_old_in_line_costs_no_call() -> None:
    """A token whose lifetime ends while it waits for its call is settled as expired."""
    async with working(replace(POLICY, lifetime=timedelta(milliseconds=200))) as worker:
        worker.replica.gate.hold("test", "closed")
        delivery = worker.deliver("ok")
        await settle()
        await asyncio.sleep(0.25)
        worker.replica.gate.release("test")
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "LifetimeExceeded"
        assert worker.aws.calls == []
        assert worker.telemetry.losses == {Loss.OUTLIVED: 1}


@leaping
async def test_who_comes_late_to_an_old_token_has_not_outlived_it_with_us() -> None:
    """A new submission of a token that failed hours ago is expired, and not by our fault."""
    async with working() as worker:
        long_ago = worker.fleet.clock() - timedelta(hours=5)
        failed = replace(known("t", Status.DEAD, error_code="Timeout"), settled_at=long_ago)
        worker.ledger.outcomes[failed.key] = replace(failed, first_seen=long_ago)
        delivery = worker.deliver("t")
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "LifetimeExceeded"
        assert not worker.telemetry.losses


@leaping
async def test_a_buyers_wait_is_told_of_the_lane_it_came_in_by() -> None:
    """One that was moved aside counts where it came in, and a replay counts nowhere."""
    async with working() as worker:
        now = worker.fleet.clock()
        fresh = submission(received_at=now, first_seen=now)
        moved = replace(fresh, token=Token.of("a"), entry_lane=Lane.LIVE)
        replayed = replace(fresh, token=Token.of("b"), replay=now)
        for sent in (moved, replayed):
            ours = headers(sent, attempts=0, returns=0)
            worker.deliver(sent.token.value, lane=Lane.BACKLOG, headers=ours, internal=True)
        worker.deliver("c", lane=Lane.BACKLOG)
        worker.deliver("d")
        await worker.all_acked()
        assert worker.telemetry.waits == {Lane.LIVE: 2, Lane.BACKLOG: 1}
        worker.aws.script("e", REJECTED)
        worker.deliver("e")
        worker.deliver("d")
        await worker.all_acked()
        assert worker.telemetry.waits == {Lane.LIVE: 4, Lane.BACKLOG: 1}
        assert +worker.telemetry.resolved_waits == {Lane.LIVE: 2, Lane.BACKLOG: 1}


@leaping
async def test_calls_before_the_lifetime_ended_are_counted() -> None:
    """A token that grows too old between two calls is settled with the call that it cost."""
    async with working(replace(POLICY, lifetime=timedelta(milliseconds=200))) as worker:
        worker.aws.script("t", TRANSIENT)
        worker.deliver("t")
        await settle()
        assert len(worker.aws.calls) == 1
        worker.replica.gate.hold("test", "closed")
        await asyncio.sleep(0.25)
        worker.replica.gate.release("test")
        await worker.all_acked()
        settled = worker.ledger.outcomes[submission("t").key]
        assert (settled.error_code, settled.attempts) == ("LifetimeExceeded", 1)


@leaping
async def test_what_is_given_up_is_kept_sealed() -> None:
    """A rejected token's message is recorded with its outcome, sealed."""
    async with working() as worker:
        worker.aws.script("bad", REJECTED)
        delivery = worker.deliver("bad")
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "rejected"
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.sealed.startswith(b"sealed:{")
        assert kept.letter.sealed.endswith(delivery.incoming.body)


@leaping
async def test_a_malformed_message_is_recorded_and_answered() -> None:
    """What can't be read is recorded, answered and acked, without lookup or call."""
    async with working() as worker:
        delivery = worker.deliver("", content=b"{", reply_to="resolution.reply.x")
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "BodyNotJson"
        assert len(worker.publisher.to("resolution.answers")) == 1
        assert len(worker.ledger.malformed) == len(worker.ledger.letters) == 1
        assert worker.telemetry.outcomes == {("malformed", Lane.LIVE, False): 1}


@leaping
async def test_oddities_are_counted() -> None:
    """A reply_to or received_at that is passed over is counted."""
    async with working() as worker:
        worker.deliver("a", reply_to="resolution.tokens")
        worker.deliver("b", content=body("b", received_at="tomorrow"))
        await worker.all_acked()
        assert worker.telemetry.oddities == {"reply_to": 1, "received_at": 1}
        assert worker.publisher.to("resolution.answers") == []


@leaping
async def test_what_the_broker_parked_is_collected_unparsed() -> None:
    """A parked message becomes a dead letter and is acked; nobody is answered."""
    async with working() as worker:
        delivery = worker.deliver("ok", lane=None)
        await worker.all_acked()
        assert (worker.aws.calls, worker.publisher.sent) == ([], [])
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.reason.value == "parked"
        assert delivery.acks == 1


EXPIRED = Death("expired", Lane.LIVE)
OVERFLOW = Death("maxlen", Lane.BACKLOG)


@leaping
async def test_what_expired_in_its_lane_goes_back_there() -> None:
    """It keeps its names and our headers, loses no attempt, and nobody is answered yet."""
    async with working() as worker:
        seen = worker.fleet.clock() - timedelta(hours=1)
        sent = replace(submission("ok"), first_seen=seen)
        ours = headers(sent, attempts=2, returns=1)
        delivery = worker.deliver(
            "ok", lane=None, death=EXPIRED, headers=ours, internal=True, correlation_id="c"
        )
        await worker.all_acked()
        assert worker.moved(delivery) == [("resolution.internal", "token")]
        (moved,) = worker.publisher.sent
        assert (moved.correlation_id, moved.body) == ("c", delivery.incoming.body)
        assert dict(moved.headers) == ours
        assert (worker.aws.calls, worker.ledger.letters) == ([], {})
        assert worker.telemetry.oddities == {"expiration": 1}


@leaping
async def test_what_expired_past_its_lifetime_is_settled_as_expired() -> None:
    """The buyer is answered, and the letter names the token's age and no crash."""
    async with working() as worker:
        sent = replace(submission("old"), first_seen=worker.fleet.clock() - timedelta(hours=5))
        ours = headers(sent, attempts=0, returns=0)
        asked: dict[str, Any] = {
            "headers": ours,
            "internal": True,
            "reply_to": "resolution.reply.x",
        }
        delivery = worker.deliver("old", lane=None, death=EXPIRED, **asked)
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "LifetimeExceeded"
        assert len(worker.publisher.to("resolution.answers")) == 1
        (kept,) = worker.ledger.letters.values()
        assert (kept.letter.reason.value, kept.letter.lane) == ("expired", "live")
        assert worker.aws.calls == []


@leaping
async def test_what_its_lane_had_no_room_for_is_handled_at_once() -> None:
    """Back in the lane it would push out another."""
    async with working() as worker:
        delivery = worker.deliver("ok", lane=None, death=OVERFLOW)
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "resolved"
        assert worker.telemetry.submissions == {Lane.BACKLOG: 1}
        assert worker.telemetry.oddities == {"overflow": 1}


@leaping
@pytest.mark.parametrize("death", [EXPIRED, OVERFLOW])
async def test_what_can_not_be_read_of_these_is_malformed(death: Death) -> None:
    """It is answered as any other."""
    async with working() as worker:
        delivery = worker.deliver("", content=b"{", lane=None, death=death)
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "BodyNotJson"


@leaping
@pytest.mark.parametrize(
    ("death", "code", "words"),
    [
        (Death("delivery_limit", Lane.LIVE), "DeliveryLimit", "workers died"),
        (Death("rejected", Lane.LIVE), "RejectedInQueue", "by hand"),
        (Death("expired", None), "ExpiredInQueue", "none of ours"),
        (Death("maxlen", None), "QueueOverflow", "none of ours"),
        (Death("something new", Lane.LIVE), "ParkedUnexplained", "kilobytes of headers"),
        (None, "ParkedUnexplained", "kilobytes of headers"),
    ],
)
async def test_a_letter_names_why_the_broker_gave_a_message_up(
    death: Death | None, code: str, words: str
) -> None:
    """Each reason has a code and a remedy of its own; only the delivery limit speaks of crashes."""
    async with working() as worker:
        worker.deliver("ok", lane=None, death=death)
        await worker.all_acked()
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.error_code == code
        assert words in remedies.remedy("parked", code)
        assert ("died" in remedies.remedy("parked", code)) == (code == "DeliveryLimit")


@leaping
async def test_an_ignored_reply_to_is_said_once_a_minute() -> None:
    """One line for the first, then one a minute with how many there were since."""
    async with working() as worker:
        with capture_logs() as lines:
            for number in range(100):
                worker.deliver(f"t{number}", reply_to="amq.rabbitmq.reply-to", user_id="shop")
                await asyncio.sleep(1)
            await asyncio.sleep(60)
        told = [line for line in lines if line["event"] == "reply_to_ignored"]
        assert len(told) == 3
        assert sum(line["messages"] for line in told) == 100
        assert told[0]["caller"] == "shop"
        assert "direct reply-to" in told[0]["remedy"]
        assert "amq.rabbitmq.reply-to.g1" not in str(told)


@leaping
async def test_of_a_body_that_is_too_large_only_what_is_sealed_is_kept() -> None:
    """While it waits to be written the rest of it is gone; its letter names the whole."""
    async with working() as worker:
        large = b"x" * (2 * MAX_BODY_BYTES)
        worker.ledger.outage = "away"
        delivery = worker.deliver("", content=large)
        await asyncio.sleep(0.25)
        assert len(delivery.incoming.body) == KEPT_OF_TOO_LARGE_BYTES
        worker.ledger.outage = None
        await worker.all_acked()
        assert worker.event(delivery)["error"]["code"] == "BodyTooLarge"
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.body_sha256 == hashlib.sha256(large).digest()
        assert kept.letter.body_bytes == len(large)


@leaping
@pytest.mark.parametrize("size", [1, MAX_BODY_BYTES + 1])
async def test_a_malformed_message_that_cannot_be_recorded_is_kept(size: int) -> None:
    """It is answered and parked; of one that is no longer whole that letter is written here."""
    async with working() as worker:
        content = b"{" * size
        worker.ledger.refuses_malformed = True
        worker.ledger.refuses_letter = lambda each: each.reason is LetterReason.MALFORMED
        delivery = worker.deliver("", content=content)
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "malformed"
        assert worker.ledger.malformed == {}
        whole = worker.moved(delivery)
        assert whole == ([("resolution.internal", "parked")] if size == 1 else [])
        reasons = [kept.letter.reason.value for kept in worker.ledger.letters.values()]
        assert reasons == ([] if size == 1 else ["parked"])
        for kept in worker.ledger.letters.values():
            assert kept.letter.body_sha256 == hashlib.sha256(content).digest()
            assert kept.letter.error_code == "Unstorable"
            assert "can never be written" in kept.letter.error_message


@leaping
async def test_a_malformed_message_that_is_refused_among_its_kind_has_a_letter() -> None:
    """The table of malformed messages refuses it, and the dead letter tells what is wrong."""
    async with working() as worker:
        worker.ledger.refuses_malformed = True
        delivery = worker.deliver("", content=b"{")
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "malformed"
        assert worker.moved(delivery) == []
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.reason is LetterReason.MALFORMED
        assert worker.telemetry.rows_refused == {"dead_letter": 1}


@leaping
async def test_a_parked_message_that_is_refused_is_written_ever_less_often() -> None:
    """It stays where it is, counted each time, until the database takes its letter."""
    async with working() as worker:
        worker.ledger.refuses_letter = lambda _: True
        words = "the database refused a row: CheckViolationError, SQLSTATE 23514"
        headers = {"x-resolution-refusal": words}
        delivery = worker.deliver("t", lane=None, internal=True, headers=headers)
        await asyncio.sleep(600)
        assert (delivery.acks, worker.publisher.sent) == (0, [])
        tries = worker.telemetry.rows_refused[KeptAs.PARKED]
        assert 10 <= tries <= 15
        worker.ledger.refuses_letter = lambda _: False
        await worker.all_acked()
        (kept,) = worker.ledger.letters.values()
        assert (kept.letter.error_code, kept.letter.error_message) == ("Unstorable", words)


# --- copies ---


@leaping
async def test_concurrent_copies_share_one_call() -> None:
    """Ten submissions of one token in flight cost one call; each gets its own answer."""
    async with working() as worker:
        worker.aws.latency = 1.0
        copies = [worker.deliver("ok") for _ in range(5)]
        await asyncio.sleep(0.5)
        copies += [worker.deliver("ok", lane=Lane.BACKLOG) for _ in range(5)]
        await worker.all_acked()
        assert worker.aws.tokens == ["ok"]
        assert [worker.event(copy)["repeated"] for copy in copies] == [False] + [True] * 9
        assert len(worker.ledger.batches) == 1


@leaping
async def test_a_submission_sent_again_is_no_repeat() -> None:
    """Under the same message id it shares the call unrepeated; one of another id is a repeat."""
    async with working() as worker:
        worker.aws.latency = 1.0
        first = worker.deliver("ok", message_id="a")
        worker.deliver("ok", message_id="b")
        worker.deliver("ok", message_id="a")
        await worker.all_acked()
        assert [event["repeated"] for event in worker.events(first)] == [False] * 2
        # The ledger answers from now on.
        second = worker.deliver("ok", message_id="b")
        worker.deliver("ok", message_id="a")
        await worker.all_acked()
        assert [event["repeated"] for event in worker.events(first)] == [False] * 3
        assert [event["repeated"] for event in worker.events(second)] == [True] * 2
        assert worker.aws.tokens == ["ok"]
        outcomes = worker.telemetry.outcomes
        assert outcomes["resolved", Lane.LIVE, False] == 3
        assert outcomes["resolved", Lane.LIVE, True] == 2


@leaping
async def test_a_failure_sent_again_is_no_repeat_either() -> None:
    """A rejected submission that comes again within the failures' memory is unrepeated too."""
    async with working() as worker:
        worker.aws.script("t", REJECTED)
        first = worker.deliver("t", message_id="a")
        await worker.all_acked()
        worker.deliver("t", message_id="a")
        other = worker.deliver("t", message_id="b")
        await worker.all_acked()
        assert [event["repeated"] for event in worker.events(first)] == [False] * 2
        assert worker.event(other)["repeated"] is True
        assert worker.aws.tokens == ["t"]


@leaping
async def test_a_call_shared_with_its_own_copy_is_no_repeat() -> None:
    """So it is where an earlier submission has failed, whose message id the ledger keeps."""
    async with working() as worker:
        worker.aws.script("t", REJECTED)
        worker.deliver("t", message_id="a")
        await worker.all_acked()
        await asyncio.sleep(FAILURE_MEMORY.total_seconds() + 1)
        worker.aws.latency = 1.0
        later = worker.deliver("t", message_id="b")
        worker.deliver("t", message_id="b")
        other = worker.deliver("t", message_id="c")
        await worker.all_acked()
        assert [event["repeated"] for event in worker.events(later)] == [False] * 2
        assert worker.event(other)["repeated"] is True


@leaping
async def test_messages_without_an_id_are_not_taken_for_one_another() -> None:
    """Two messages that differ in nothing and have no id may be two senders': one is a repeat."""
    async with working() as worker:
        worker.aws.latency = 1.0
        content = body("ok")
        first = worker.deliver("ok", content=content, message_id=None)
        worker.deliver("ok", content=content, message_id=None)
        await worker.all_acked()
        worker.deliver("ok", content=content, message_id=None)
        await worker.all_acked()
        derived = derived_id(first.incoming)
        told = [json.loads(each.body) for each in worker.publisher.to("resolution.events")]
        assert {each["message_id"] for each in told} == {derived}
        assert [each["repeated"] for each in told] == [False, True, True]


@leaping
async def test_copies_move_on_together() -> None:
    """All copies of a token that goes into a retry queue go there, with what was spent."""
    async with working() as worker:
        worker.aws.script("t", TRANSIENT)
        worker.aws.latency = 3.0
        copies = [worker.deliver("t"), worker.deliver("t", lane=Lane.BACKLOG)]
        await worker.all_acked()
        assert worker.moved(copies[0]) == [("resolution.retry.5s", "token")]
        assert worker.moved(copies[1]) == [("resolution.retry.5s", "backlog")]
        assert {sent.headers["x-resolution-attempts"] for sent in worker.publisher.sent} == {1}


# --- retries ---


@leaping
async def test_what_passes_quickly_is_resolved_within_the_visit() -> None:
    """Two faults in a row are tried again at once, and the third call settles the token."""
    async with working() as worker:
        worker.aws.script("t", TRANSIENT, THROTTLED, Answer("p", "1"))
        delivery = worker.deliver("t")
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "resolved"
        assert worker.ledger.outcomes[submission("t").key].attempts == 2
        assert loop_time() < 2.0
        assert worker.telemetry.retries == {"transient": 1, "throttled": 1}


@leaping
async def test_a_retried_message_goes_on_where_it_was() -> None:
    """Through its whole life a token makes six calls, whichever worker it meets, and is dead."""
    async with working() as worker:
        worker.aws.script("t", TRANSIENT)
        delivery = worker.deliver("t")
        visits: list[str] = []
        for _ in range(4):
            await asyncio.wait_for(delivery.acked.wait(), 10)
            moved = [sent for sent in worker.publisher.sent if sent.mandatory]
            if len(moved) <= len(visits):
                break
            visits.append(moved[-1].exchange)
            delivery = worker.deliver(
                "t",
                content=moved[-1].body,
                headers=moved[-1].headers,
                internal=True,
                message_id=moved[-1].message_id,
            )
        assert visits == [f"resolution.retry.{delay}" for delay in ("5s", "30s", "2m")]
        assert len(worker.aws.calls) == 6
        assert worker.event(delivery)["status"] == "dead"
        assert worker.event(delivery)["error"]["code"] == "Timeout"
        assert worker.ledger.outcomes[submission("t").key].attempts == 6


@leaping
async def test_a_defect_of_ours_costs_an_attempt_and_not_the_process() -> None:
    """A call that raises what nobody foresaw counts as passing, and the others go on."""
    async with working(Policy(attempts=1, delays=("5s",))) as worker:
        worker.aws.script("bad", RuntimeError("unforeseen"))
        bad, good = worker.deliver("bad"), worker.deliver("good")
        await worker.all_acked()
        assert worker.event(bad)["error"]["code"] == "UnforeseenError"
        assert worker.event(good)["status"] == "resolved"


# --- bounds ---


@leaping
async def test_calls_are_bounded_by_concurrency() -> None:
    """However much is delivered, no more calls than allowed are in flight, and all slots serve."""
    async with working(concurrency=8) as worker:
        worker.aws.latency = 1.0
        for number in range(80):
            worker.deliver(f"t{number}")
        await worker.all_acked()
        assert worker.aws.most_in_flight == 8
        assert loop_time() == pytest.approx(10.0, abs=0.2)
        assert worker.pipeline.pool.calling.count == 0


@leaping
async def test_calls_keep_the_ceiling() -> None:
    """Under a ceiling calls are spread evenly, whatever the concurrency."""
    async with working(concurrency=50, ceiling=10.0) as worker:
        for number in range(51):
            worker.deliver(f"t{number}")
        await worker.all_acked()
        times = [called for called, _ in worker.aws.calls]
        assert times[-1] == pytest.approx(5.0, abs=0.1)
        assert all(b - a >= 0.0999 for a, b in pairwise(times))


@leaping
async def test_the_backlog_has_a_fifth_of_the_calls() -> None:
    """While both lanes wait one call in five is for the backlog."""
    async with working(concurrency=1, ceiling=100.0) as worker:
        for number in range(100):
            worker.deliver(f"live{number}")
            worker.deliver(f"back{number}", lane=Lane.BACKLOG)
        await worker.all_acked()
        early = worker.aws.tokens[10:60]
        assert sum(token.startswith("back") for token in early) == 10


# --- faults that are ours ---


@leaping
async def test_a_fault_of_ours_stops_calls_and_settles_nothing() -> None:
    """On a systemic answer calls stop, probes look whether it is over, and all is settled then."""
    async with working(concurrency=4) as worker:
        worker.aws.latency = 0.01
        worker.aws.script("t0", SYSTEMIC, Answer("p", "1"))
        worker.aws.probes.extend([SYSTEMIC] * 5)
        for number in range(40):
            worker.deliver(f"t{number}")
        await asyncio.sleep(1)
        assert worker.replica.gate.reasons == {"aws": "AccessDeniedException: not you"}
        stopped = len(worker.aws.calls)
        assert stopped <= 8
        await worker.all_acked()
        assert len(worker.aws.probed) == 6
        assert worker.replica.gate.reasons == {}
        assert {worker.event(each)["status"] for each in worker.deliveries} == {"resolved"}
        assert worker.ledger.outcomes[submission("t0").key].attempts == 1


@leaping
async def test_one_probe_at_a_time() -> None:
    """However many calls meet the fault, probes come one by one, none more than 4 s apart."""
    async with working(concurrency=20) as worker:
        worker.aws.latency = 0.5
        worker.aws.probes.extend([SYSTEMIC] * 30)
        for number in range(20):
            worker.aws.script(f"t{number}", SYSTEMIC, Answer("p", "1"))
            worker.deliver(f"t{number}")
        await worker.all_acked()
        gaps = [b - a for a, b in pairwise(worker.aws.probed)]
        assert len(gaps) == 30
        assert all(0.5 <= gap <= 4.5 for gap in gaps)


@leaping
async def test_a_token_that_alone_is_refused_dies_of_it() -> None:
    """A token to which AWS says AccessDenied while others pass is dead at its third strike."""
    async with working(concurrency=2) as worker:
        worker.aws.latency = 0.01
        worker.aws.script("denied", SYSTEMIC)
        denied = worker.deliver("denied")
        for number in range(10):
            worker.deliver(f"t{number}")
            await asyncio.sleep(0.1)
        await worker.all_acked()
        assert worker.aws.tokens.count("denied") == 3
        event = worker.event(denied)
        assert (event["status"], event["error"]["code"]) == ("dead", "AccessDeniedException")
        assert worker.ledger.outcomes[submission("denied").key].attempts == 0
        assert len(worker.ledger.outcomes) == 11


@leaping
async def test_a_refusal_of_all_is_held_against_no_token() -> None:
    """Tokens that were all refused at once have one strike each, however long it lasts."""
    async with working(concurrency=10) as worker:
        worker.aws.latency = 0.1
        worker.aws.probes.extend([SYSTEMIC] * 20)
        for number in range(10):
            worker.aws.script(f"t{number}", SYSTEMIC, SYSTEMIC, Answer("p", "1"))
            worker.deliver(f"t{number}")
        await worker.all_acked()
        assert {worker.event(each)["status"] for each in worker.deliveries} == {"resolved"}


@leaping
async def test_an_outage_of_aws_kills_no_token() -> None:
    """When nearly all calls fail calls stop until a probe is answered, and no token is dead."""
    async with working(concurrency=20) as worker:
        worker.aws.latency = 0.1
        worker.aws.probes.extend([TRANSIENT] * 10)
        for number in range(40):
            worker.aws.script(f"t{number}", TRANSIENT, TRANSIENT, Answer("p", "1"))
            worker.deliver(f"t{number}")
        await asyncio.sleep(5)
        assert set(worker.replica.gate.reasons) == {"aws"}
        assert worker.replica.breaker.refused is None  # ready all the same
        await worker.all_acked()
        statuses = {event["status"] for each in worker.deliveries for event in worker.events(each)}
        assert statuses <= {"resolved"}
        assert len(worker.aws.probed) >= 11


@leaping
async def test_what_was_never_reached_stops_calls_and_costs_nothing() -> None:
    """One token is enough to stop, however long it lasts no attempt is used up, and it is told."""
    async with working() as worker:
        worker.aws.probes.extend([UNREACHED] * 20)
        worker.aws.script("t0", UNREACHED, Answer("p", "1"))
        worker.deliver("t0")
        await asyncio.sleep(10)
        assert worker.replica.breaker.refused == UNREACHED
        assert worker.aws.tokens == ["t0"]
        await worker.all_acked()
        assert worker.ledger.outcomes[submission("t0").key].attempts == 1
        assert worker.replica.breaker.refused is None


@leaping
async def test_a_single_connection_that_fails_stops_nothing() -> None:
    """Once AWS was reached a call that was not sent is made again, and no probe is needed."""
    async with working() as worker:
        worker.deliver("first")
        await worker.all_acked()
        worker.aws.script("t0", UNREACHED, UNREACHED, Answer("p", "1"))
        worker.deliver("t0")
        await worker.all_acked()
        assert worker.aws.tokens.count("t0") == 3
        assert worker.aws.probed == []
        assert worker.ledger.outcomes[submission("t0").key].attempts == 1


@leaping
async def test_what_is_out_of_reach_now_stops_calls_and_stays_ready() -> None:
    """AWS that was reached and no longer is may be down: calls stop soon, the replica is ready."""
    async with working() as worker:
        worker.deliver("first")
        await worker.all_acked()
        worker.aws.probes.extend([UNREACHED] * 10)
        worker.aws.script("t0", *[UNREACHED] * 3, Answer("p", "1"))
        worker.deliver("t0")
        await asyncio.sleep(5)
        assert worker.replica.breaker.fault == UNREACHED
        assert worker.replica.breaker.refused is None
        await worker.all_acked()
        assert worker.ledger.outcomes[submission("t0").key].attempts == 1


@leaping
async def test_what_was_never_sent_is_held_against_no_token() -> None:
    """Faults before anything is sent are no answers to a token, though others succeed meanwhile."""
    async with working(concurrency=2) as worker:
        worker.aws.latency = 0.01
        worker.aws.script("unlucky", *[UNTRUSTED] * 8, Answer("p", "1"))
        unlucky = worker.deliver("unlucky")
        for number in range(30):
            worker.deliver(f"t{number}")
            await asyncio.sleep(0.5)
        await worker.all_acked()
        assert worker.event(unlucky)["status"] == "resolved"


@leaping
async def test_a_refusal_is_told_until_it_is_over() -> None:
    """A probe without an answer, in the middle of a refusal, does not make it an outage."""
    async with working() as worker:
        worker.aws.probes.extend([SYSTEMIC, TRANSIENT, TRANSIENT])
        worker.aws.script("refused", SYSTEMIC, Answer("p", "1"))
        worker.deliver("refused")
        await settle()
        refusals = set()
        while len(worker.aws.probed) < 3:
            refusals.add(worker.replica.breaker.refused)
            await asyncio.sleep(0.1)
        assert refusals == {SYSTEMIC}
        await worker.all_acked()
        assert worker.replica.breaker.refused is None


def test_strikes_need_successes_in_between() -> None:
    """A token that is refused again and again with no call getting through has one strike."""

    @leaping
    async def run() -> None:
        async with working() as worker:
            joined = InFlight().join(
                Waiter(submission("t"), FakeDelivery(Incoming(body("t"))), Lane.LIVE)
            )
            assert joined is not None
            pool = worker.pipeline.pool
            for _ in range(5):
                pool._learn(joined, SYSTEMIC)
            assert joined.systemic.count == 1
            worker.replica.breaker.answered(SystemicAnswers())
            for _ in range(5):
                pool._learn(joined, SYSTEMIC)
            assert (joined.systemic.count, joined.attempts) == (2, 0)

    run()


@leaping
async def test_a_refused_token_lets_the_others_go_first() -> None:
    """After a halt the token whose call met the fault stands last in line."""
    async with working(concurrency=1) as worker:
        worker.aws.script("denied", SYSTEMIC, Answer("p", "1"))
        for token in ("denied", "a", "b"):
            worker.deliver(token)
        await worker.all_acked()
        assert worker.aws.tokens == ["denied", "a", "b", "denied"]


@leaping
async def test_what_is_held_too_long_is_given_back() -> None:
    """While AWS refuses us a token is kept for well under 4 minutes, and goes back to its lane."""
    async with working(concurrency=1) as worker:
        worker.aws.probes.extend([SYSTEMIC] * 1_000)
        worker.aws.script("t", SYSTEMIC)
        delivery = worker.deliver("t")
        other = worker.deliver("u", lane=Lane.BACKLOG)
        await asyncio.sleep(224)
        assert (delivery.acks, other.acks) == (0, 0)
        await asyncio.sleep(6.1)
        assert worker.moved(delivery) == [("resolution.internal", "token")]
        assert worker.moved(other) == [("resolution.internal", "backlog")]
        assert (delivery.acks, other.acks) == (1, 1)
        assert worker.events(delivery) == []
        (back,) = [sent for sent in worker.publisher.sent if sent.routing_key == "token"]
        assert back.headers["x-resolution-attempts"] == 0


@leaping
async def test_everything_held_too_long_is_given_back_while_the_ledger_is_away() -> None:
    """With the database away all that was delivered goes back within 4 minutes and a retry."""
    async with working() as worker:
        worker.ledger.outage = "down"
        for number in range(450):
            worker.deliver(f"t{number}")
        await asyncio.sleep(232)
        assert sum(delivery.acks for delivery in worker.deliveries) == 450
        assert len(worker.publisher.to("resolution.internal")) == 450


# --- a database that refuses a row ---


@leaping
async def test_a_poison_outcome_stays_resolved_with_what_fits() -> None:
    """What the database refuses of an outcome is left out, and the others are as they are."""
    async with working() as worker:
        worker.ledger.is_poison = lambda each: each.license_arn == "arn:poison"
        poison, good = worker.deliver("poison"), worker.deliver("good")
        await worker.all_acked()
        told = worker.event(poison)
        assert (told["status"], told["error"], told["license_arn"]) == ("resolved", None, None)
        assert told["customer_aws_account_id"] == "000000000001"
        assert worker.event(good)["license_arn"] == "arn:good"
        assert worker.telemetry.rows_refused == {"reduced": 1}


@leaping
async def test_what_aws_resolved_and_no_row_can_hold_is_a_dead_letter() -> None:
    """If the ledger takes nothing of it the buyer is told what AWS said, and the letter tells why.

    No message goes round: one call is made.
    """
    async with working() as worker:
        poison = submission("poison").key
        worker.ledger.is_poison = lambda each: each.key == poison
        first, copy = worker.deliver("poison"), worker.deliver("poison")
        await worker.all_acked()
        assert worker.aws.tokens == ["poison"]
        for delivery in (first, copy):
            told = worker.event(delivery)
            assert (told["status"], told["license_arn"]) == ("resolved", "arn:poison")
            assert worker.moved(delivery) == []
        assert poison not in worker.ledger.outcomes
        (kept,) = worker.ledger.letters.values()
        assert kept.letter.token_sha256 == poison.sha256
        assert (kept.letter.reason, kept.letter.error_code) == (LetterReason.DEAD, "Unstorable")
        assert "can never be written; AWS resolved the token" in kept.letter.error_message
        assert worker.telemetry.rows_refused == {"dead_letter": 1}


@leaping
async def test_what_is_refused_altogether_is_answered_and_parked() -> None:
    """If no row of a message is taken its buyer is answered, and the broker keeps the message."""
    async with working() as worker:
        poison = submission("poison").key
        worker.ledger.is_poison = lambda each: each.key == poison
        worker.ledger.refuses_letter = lambda _: True
        first, copy = worker.deliver("poison"), worker.deliver("poison")
        await worker.all_acked()
        assert [worker.event(each)["status"] for each in (first, copy)] == ["resolved"] * 2
        assert worker.moved(first) == [("resolution.internal", "parked")]
        assert worker.moved(copy) == []
        (parked,) = worker.publisher.to("resolution.internal")
        assert "can never be written" in parked.headers["x-resolution-refusal"]


@leaping
async def test_a_failure_without_its_letter_is_settled_and_parked() -> None:
    """If only the dead letter is refused the outcome stands, and the broker keeps the message."""
    async with working() as worker:
        worker.ledger.refuses_letter = lambda _: True
        worker.aws.script("no", REJECTED)
        delivery = worker.deliver("no")
        await worker.all_acked()
        assert worker.event(delivery)["status"] == "rejected"
        assert worker.ledger.outcomes[submission("no").key].status is Status.REJECTED
        assert worker.moved(delivery) == [("resolution.internal", "parked")]
        assert worker.telemetry.rows_refused == {"parked": 1}


# --- a channel that is lost ---


@leaping
async def test_a_lost_channel_loses_nothing_and_doubles_nothing() -> None:
    """Calls under way when the channel goes are written; each redelivered copy is answered once."""
    async with working(concurrency=4) as worker:
        worker.aws.latency = 1.0
        lost = [worker.deliver(f"t{number}") for number in range(10)]
        await asyncio.sleep(0.5)
        for delivery in lost:
            delivery.alive = False
        worker.pipeline.drop_dead()
        again = [
            worker.deliver(
                f"t{number}",
                content=delivery.incoming.body,
                message_id=delivery.incoming.message_id,
                redelivered=True,
            )
            for number, delivery in enumerate(lost)
        ]
        await worker.all_acked()
        assert [len(worker.events(delivery)) for delivery in again] == [1] * 10
        assert sorted(worker.aws.tokens) == sorted(f"t{number}" for number in range(10))
        assert sum(delivery.acks for delivery in lost) == 0


@leaping
async def test_a_channel_lost_for_good_leaves_the_pipeline_sound() -> None:
    """With every delivery dead at every stage nothing is said, and the next delivery is served."""
    async with working(concurrency=2) as worker:
        worker.aws.latency = 1.0
        worker.aws.script("t0", TRANSIENT)
        worker.aws.script("t1", SYSTEMIC)
        for number in range(6):
            worker.deliver(f"t{number}")
        await asyncio.sleep(0.5)
        for delivery in worker.deliveries:
            delivery.alive = False
        worker.pipeline.drop_dead()
        await asyncio.sleep(20)
        assert worker.publisher.sent == []
        fresh = worker.deliver("fresh")
        await worker.all_acked()
        assert worker.event(fresh)["status"] == "resolved"


# --- drain ---


@leaping
async def test_a_drain_finishes_what_is_in_flight_and_gives_the_rest_back() -> None:
    """Calls under way are settled, what waits goes back to its lane, and the run ends."""
    async with working(concurrency=4) as worker:
        worker.aws.latency = 1.0
        running = [task for task in asyncio.all_tasks() if "run" in repr(task.get_coro())]
        for number in range(30):
            worker.deliver(f"t{number}")
        await asyncio.sleep(0.5)
        await worker.pipeline.drain(25.0)
        assert loop_time() == pytest.approx(1.0, abs=0.1)
        settled = [each for each in worker.deliveries if worker.events(each)]
        given = [each for each in worker.deliveries if worker.moved(each)]
        assert (len(settled), len(given)) == (4, 26)
        assert {each.acks for each in worker.deliveries} == {1}
        await asyncio.wait(running, timeout=1)


@leaping
async def test_a_drain_gives_back_what_would_be_called_for_again() -> None:
    """A call that ends in a fault while the worker drains is not made again: it goes back."""
    async with working(concurrency=4) as worker:
        worker.aws.latency = 1.0
        worker.aws.script("passing", TRANSIENT, Answer("p", "1"))
        worker.aws.script("ours", SYSTEMIC)
        passing, ours = worker.deliver("passing"), worker.deliver("ours")
        await asyncio.sleep(0.5)
        await worker.pipeline.drain(25.0)
        assert loop_time() == pytest.approx(1.0, abs=0.1)
        assert len(worker.aws.calls) == 2
        for delivery, attempts in ((passing, 1), (ours, 0)):
            assert worker.moved(delivery) == [("resolution.internal", "token")]
            (back,) = [
                sent
                for sent in worker.publisher.sent
                if sent.message_id == delivery.incoming.message_id
            ]
            assert back.headers["x-resolution-attempts"] == attempts


@leaping
async def test_a_drain_with_aws_hanging_keeps_its_bound() -> None:
    """If AWS never answers, the calls are dropped in time and every message goes back."""
    async with working(concurrency=4) as worker:
        worker.aws.hanging = True
        for number in range(500):
            worker.deliver(f"t{number}")
        await asyncio.sleep(1)
        began = loop_time()
        await worker.pipeline.drain(25.0)
        assert loop_time() - began <= 25.0
        assert {each.acks for each in worker.deliveries} == {1}
        assert [worker.moved(each) for each in worker.deliveries] == [
            [("resolution.internal", "token")]
        ] * 500
        assert worker.aws.in_flight == 0


@leaping
async def test_a_drain_with_the_ledger_dead_keeps_its_bound() -> None:
    """If the database can't write, answers in hand are dropped in time and all goes back."""
    async with working(concurrency=4) as worker:
        worker.aws.latency = 0.5
        for number in range(12):
            worker.deliver(f"t{number}")
        await asyncio.sleep(0.6)
        worker.ledger.outage = "down"
        for number in range(12, 400):
            worker.deliver(f"t{number}")
        worker.deliver("", content=b"{")
        await asyncio.sleep(5)
        began = loop_time()
        await worker.pipeline.drain(25.0)
        assert loop_time() - began <= 25.0
        answered = [each for each in worker.deliveries if worker.events(each)]
        given = [each for each in worker.deliveries if worker.moved(each)]
        assert len(answered) + len(given) == 400
        *readable, malformed = worker.deliveries
        assert {each.acks for each in readable} == {1}
        assert malformed.acks == 0  # the broker hands it out anew


@leaping
async def test_a_drain_with_the_broker_silent_keeps_its_bound() -> None:
    """If no publish is ever confirmed the drain ends in time all the same, and acks nothing."""
    async with working(concurrency=4) as worker:
        worker.publisher.hanging = True
        for number in range(20):
            worker.deliver(f"t{number}")
        await asyncio.sleep(1)
        began = loop_time()
        await worker.pipeline.drain(10.0)
        assert loop_time() - began == pytest.approx(10.0, abs=0.1)
        assert {each.acks for each in worker.deliveries} == {0}


@leaping
async def test_a_drain_while_aws_refuses_us_is_quick() -> None:
    """With calls stopped nothing is in flight: all goes back at once."""
    async with working() as worker:
        worker.aws.probes.extend([SYSTEMIC] * 100)
        worker.aws.script("t0", SYSTEMIC)
        for number in range(20):
            worker.deliver(f"t{number}")
        await asyncio.sleep(5)
        began = loop_time()
        await worker.pipeline.drain(25.0)
        assert loop_time() - began < 0.1
        assert {each.acks for each in worker.deliveries} == {1}


@leaping
async def test_a_drain_of_nothing_is_over_at_once() -> None:
    """An idle worker drains without letting time pass, and its run ends."""
    async with working() as worker:
        await worker.pipeline.drain(25.0)
        assert loop_time() == 0.0


# --- everything at once ---


def chance_of(worker: FakeWorker, chance: random.Random, number: int) -> FakeDelivery:
    """One more delivery of some kind."""
    kind = chance.choice(["ok", "ok", "bad", "flaky", "dying", "slow-quota", "copy", "malformed"])
    token = f"{kind}-{0 if kind == 'copy' else number}"
    match kind:
        case "bad":
            worker.aws.script(token, REJECTED)
        case "flaky":
            worker.aws.script(token, TRANSIENT, Answer("p", "1"))
        case "dying":
            worker.aws.script(token, TRANSIENT)
        case "slow-quota":
            worker.aws.script(token, *[THROTTLED] * 3, Answer("p", "1"))
        case "malformed":
            return worker.deliver(token, content=b"[]")
    return worker.deliver(token, lane=chance.choice(list(Lane)))


@pytest.mark.parametrize("seed", range(12))
def test_each_submission_gets_exactly_one_answer(seed: int) -> None:
    """Through faults, outages, refusals and copies each message is answered or moved on, once."""

    @leaping
    async def run() -> None:
        chance = random.Random(seed)
        async with working(concurrency=5) as worker:
            worker.aws.latency = 0.05
            refusing = random.Random(seed + 1)
            worker.publisher.refuses = lambda _: refusing.random() < 0.05
            poison = {submission(f"ok-{n}").key for n in range(0, 300, 17)}
            worker.ledger.is_poison = lambda each: (
                each.key in poison and each.status is not Status.DEAD
            )
            for number in range(300):
                chance_of(worker, chance, number)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random())
                if chance.random() < 0.02:
                    worker.ledger.outage = None if worker.ledger.outage else "away"
            worker.ledger.outage = None
            await worker.all_acked()
            for delivery in worker.deliveries:
                assert delivery.acks == 1
                assert bool(worker.events(delivery)) is not bool(worker.moved(delivery))
                assert len({json.dumps(event) for event in worker.events(delivery)}) <= 1
            assert worker.replica.gate.reasons == {}
            assert worker.pipeline.oldest_seconds(Lane.LIVE) == 0.0
            assert sum(worker.telemetry.submissions.values()) == 300

    run()


@leaping
async def test_the_oldest_in_hand_is_told_by_lane() -> None:
    """The age of the oldest unsettled token is told for each lane, and nothing for none."""
    async with working() as worker:
        worker.aws.hanging = True
        now = datetime.now(UTC)
        received = now.replace(microsecond=0) - timedelta(minutes=3)
        worker.deliver("a", content=body("a", received_at=format_time(received)))
        worker.deliver("b")
        await settle()
        oldest = worker.pipeline.oldest_seconds(Lane.LIVE)
        waited = (worker.replica.clock.now() - received).total_seconds()
        assert oldest == pytest.approx(waited, abs=0.01)
        assert worker.pipeline.oldest_seconds(Lane.BACKLOG) == 0.0


def test_a_replay_calls_though_it_is_known() -> None:
    """A replay of a token that failed a moment ago is called for, and what it finds stands."""

    @leaping
    async def run() -> None:
        async with working() as worker:
            stands = known("t", Status.DEAD, error_code="Timeout")
            worker.ledger.outcomes[stands.key] = stands
            asked, _ = parse(Incoming(body("t")), datetime.now(UTC))
            assert isinstance(asked, Submission)
            ours = headers(
                replace(asked, replay=stands.settled_at + timedelta(seconds=1)),
                attempts=0,
                returns=0,
            )
            fresh = worker.deliver("t")
            replay = worker.deliver("t", headers=ours, internal=True)
            await worker.all_acked()
            assert worker.aws.tokens == ["t"]
            assert worker.event(replay)["status"] == worker.event(fresh)["status"] == "resolved"

    run()


@leaping
async def test_a_replay_that_comes_after_the_call_has_one_of_its_own() -> None:
    """While a failure waits to be written, a later replay is not answered with it but goes back."""
    async with working() as worker:
        worker.aws.latency = 1.0
        worker.aws.script("t", REJECTED)
        first = worker.deliver("t")
        await asyncio.sleep(0.5)
        worker.ledger.outage = "down"
        await asyncio.sleep(1)
        asked, _ = parse(Incoming(body("t")), datetime.now(UTC))
        assert isinstance(asked, Submission)
        later = datetime.now(UTC) + timedelta(hours=1)
        ours = headers(replace(asked, replay=later), attempts=0, returns=0)
        replay = worker.deliver("t", lane=Lane.BACKLOG, headers=ours, internal=True)
        await asyncio.sleep(0.5)
        worker.ledger.outage = None
        await worker.all_acked()
        assert worker.event(first)["status"] == "rejected"
        assert worker.events(replay) == []
        assert worker.moved(replay) == [("resolution.internal", "backlog")]
