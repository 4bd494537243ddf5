"""Properties, copies, ages and other particulars of messages that can be read."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.installation import ATTEMPTS
from harness.waiting import eventually
from tests.acceptance.outcomes import CALLED_FOR, RESTART, asked, fresh, instant, row, sha256

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier


async def test_a_copy_is_answered_from_the_ledger(
    shop: WebTier, shared_stage: Installation
) -> None:
    """A resolved token submitted again is repeated, with its own ids and without a call."""
    token = fresh("ok")
    first = (await shop.settled(token, metadata={"n": 1})).body
    calls = await shared_stage.simulator.calls()

    again, _ = await asked(shop, token, metadata={"n": 2}, lane="backlog")

    assert again.body["repeated"] is True
    assert again.body["metadata"] == {"n": 2}
    assert {name: again.body[name] for name in CALLED_FOR} == {
        name: first[name] for name in CALLED_FOR
    }
    assert await shared_stage.simulator.calls() == calls
    assert (await row(shared_stage, token))["message_id"] == first["message_id"]


async def test_concurrent_copies_share_a_call(shop: WebTier, shared_stage: Installation) -> None:
    """Copies that arrive while the call is on its way cost no other; one of them is the first."""
    token = fresh("slow-700")
    calls = await shared_stage.simulator.calls()

    ids = [await shop.submit(token, metadata={"n": n}) for n in range(5)]
    told = [(await shop.event(message_id)).body for message_id in ids]

    assert await shared_stage.simulator.calls() == calls + 1
    assert sorted(one["repeated"] for one in told) == [False, True, True, True, True]
    assert [one["metadata"] for one in told] == [{"n": n} for n in range(5)]
    assert len({one["license_arn"] for one in told}) == 1


async def test_a_submission_sent_again_is_no_repeat(
    shop: WebTier, shared_stage: Installation, shared_worker: Worker
) -> None:
    """The same message id at once, and again later, is no repeat; another of that token is one."""
    token, own = fresh("slow-700"), f"m-{uuid.uuid4()}"
    label = {"lane": "live", "status": "resolved", "repeated": "true"}
    repeats = await shared_worker.metric("resolution_outcomes_total", **label)
    calls = await shared_stage.simulator.calls()

    for _ in range(2):
        await shop.submit(token, message_id=own)
    other = await shop.event(await shop.submit(token))
    await shop.event(own, nth=2)
    await shop.submit(token, message_id=own)
    await shop.event(own, nth=3)
    later = await shop.settled(token)

    assert [told.body["repeated"] for told in shop.events[own]] == [False] * 3
    assert (other.body["repeated"], later.body["repeated"]) == (True, True)
    assert await shared_stage.simulator.calls() == calls + 1

    async def counted() -> bool:
        found = await shared_worker.metric("resolution_outcomes_total", **label)
        return found == repeats + 2

    await eventually(counted, "two repeats are counted")


async def test_a_resolved_token_expires_for_others_and_stays_resolved(
    shop: WebTier, shared_stage: Installation
) -> None:
    """More than 4 h after the first submission another is told expired; the row stays as it was."""
    token = fresh("ok")
    await shop.settled(token)
    await shared_stage.schema.execute(
        "UPDATE resolution.ledger SET first_seen_at = first_seen_at - interval '4 hours 1 s'"
        f" WHERE token_sha256 = '\\x{sha256(token).hex()}'"
    )
    stood, calls = await row(shared_stage, token), await shared_stage.simulator.calls()

    told = (await shop.settled(token)).body

    assert (told["status"], told["error"]["code"]) == ("expired", "LifetimeExceeded")
    assert told["advice"] == RESTART
    assert await row(shared_stage, token) == stood
    assert await shared_stage.simulator.calls() == calls


async def test_a_failure_is_remembered_for_half_a_minute(
    shop: WebTier, shared_stage: Installation
) -> None:
    """A dead token is answered from the ledger at first and tried afresh later; then it stands."""
    token = fresh(f"fail-{ATTEMPTS}")
    first = await shop.settled(token)
    calls = await shared_stage.simulator.calls()
    soon = await shop.settled(token)
    assert (first.status, soon.status, soon.body["repeated"]) == ("dead", "dead", True)
    assert await shared_stage.simulator.calls() == calls

    await shared_stage.schema.execute(
        "UPDATE resolution.outcomes SET settled_at = settled_at - interval '31 s'"
        f" WHERE token_sha256 = '\\x{sha256(token).hex()}'"
    )
    later, last = await shop.settled(token), await shop.settled(token)

    assert (later.status, later.body["repeated"]) == ("resolved", False)
    assert (last.status, last.body["repeated"]) == ("resolved", True)
    assert (await row(shared_stage, token))["status"] == "resolved"


async def test_no_call_is_spent_on_a_token_past_its_lifetime(
    shop: WebTier, shared_stage: Installation
) -> None:
    """A token that the ledger has seen first more than 4 h ago has expired."""
    token = fresh("invalid")
    await shop.settled(token)
    await shared_stage.schema.execute(
        "UPDATE resolution.ledger SET first_seen_at = first_seen_at - interval '4 hours 1 s',"
        " settled_at = settled_at - interval '1 hour'"
        f" WHERE token_sha256 = '\\x{sha256(token).hex()}'"
    )
    calls = await shared_stage.simulator.calls()

    told = await shop.settled(token)

    assert (told.status, told.body["error"]["code"]) == ("expired", "LifetimeExceeded")
    assert await shared_stage.simulator.calls() == calls


@pytest.mark.parametrize("told_by", ["member", "property"])
@pytest.mark.parametrize("hours", [5, 24 * 365])
async def test_a_publishers_clock_settles_nothing(shop: WebTier, told_by: str, hours: int) -> None:
    """A token whose message says that it is hours or years old is called for: AWS decides."""
    born = datetime.now(UTC) - timedelta(hours=hours)

    told = await shop.settled(
        fresh("ok"),
        **({"received_at": born.isoformat()} if told_by == "member" else {"timestamp": born}),
    )

    assert told.status == "resolved"
    assert abs(instant(told.body["received_at"]) - born) <= timedelta(seconds=1)


@pytest.mark.parametrize("said", ["tomorrow", 5, "2999-01-01T00:00:00Z", "2026-11-22", {"a": 1}])
async def test_an_arrival_that_can_not_be_counts_as_now(
    shop: WebTier, shared_worker: Worker, said: object
) -> None:
    """A `received_at` that can't be read or lies in the future is passed over, and counted."""
    counter = "resolution_oddities_total"
    before = await shared_worker.metric(counter, member="received_at")
    began = datetime.now(UTC)

    told = await shop.settled(fresh("ok"), received_at=said)

    assert told.status == "resolved"
    assert abs(instant(told.body["received_at"]) - began) < timedelta(seconds=30)
    assert await shared_worker.metric(counter, member="received_at") == before + 1


@pytest.mark.parametrize(
    "reply_to",
    [
        "resolution.tokens",
        "resolution.backlog",
        "resolution.parked",
        "resolution.reply",
        "amq.rabbitmq.reply-to.g1h2.x",
        "token",
    ],
)
async def test_a_reply_address_that_is_not_one_is_ignored(
    shop: WebTier, shared_worker: Worker, reply_to: str
) -> None:
    """A `reply_to` outside `resolution.reply.` gets no reply and is counted; the token settles."""
    counter = "resolution_oddities_total"
    before = await shared_worker.metric(counter, member="reply_to")

    told = await shop.settled(fresh("ok"), reply_to=reply_to)
    after = await shop.settled(fresh("ok"))

    assert (told.status, after.status) == ("resolved", "resolved")
    assert await shared_worker.metric(counter, member="reply_to") == before + 1
    assert set((await shop.depths()).values()) == {0}
    assert not shop.replies


async def test_nobody_need_wait_for_a_reply(shop: WebTier, shared_worker: Worker) -> None:
    """A reply that finds no queue holds nothing up, and is counted and said in the log."""
    counter = "resolution_oddities_total"
    before = await shared_worker.metric(counter, member="reply_unroutable")

    told = await shop.settled(fresh("ok"), reply_to="resolution.reply.gone.away")
    heard = await shop.reply(await shop.submit(fresh("ok"), reply_to=shop.reply_to))

    assert (told.status, heard.status) == ("resolved", "resolved")

    async def counted() -> bool:
        return await shared_worker.metric(counter, member="reply_unroutable") == before + 1

    await eventually(counted, "it is counted")
    lines = await eventually(lambda: shared_worker.logged("reply_unroutable"), "it is logged", 70)
    assert "resolution.answers" in lines[0]["remedy"]
    assert (await shared_worker.get("/readyz"))[0] == 200


async def test_metadata_comes_back_as_it_was_written(shop: WebTier) -> None:
    """Numbers, escapes, order and spaces of metadata are those of the submission."""
    metadata = (
        '{ "z": 1.0, "a": [1e2, 12345678901234567890123, "\\u00e9\\u0000 é"], '
        '"d": {"x": null, "x": true}, "":-0 }'
    ).encode()
    message_id = f"m-{uuid.uuid4()}"
    body = b'{"registration_token": "%b", "metadata": %b}' % (fresh("ok").encode(), metadata)

    await shop.publish(body, message_id=message_id, reply_to=shop.reply_to)

    assert metadata in (await shop.event(message_id)).raw
    assert metadata in (await shop.reply(message_id)).raw


async def test_a_message_without_an_id_gets_one(shop: WebTier, shared_stage: Installation) -> None:
    """A missing `message_id` is derived, and the same for reply, event and row."""
    token = fresh("ok")
    body = json.dumps({"registration_token": token}).encode()

    await shop.publish(body, reply_to=shop.reply_to, correlation_id="c")
    await eventually(lambda: shop.replies, "its reply")

    ((message_id, (reply,)),) = shop.replies.items()
    assert message_id
    assert (await shop.event(message_id)).body == reply.body
    assert (await row(shared_stage, token))["message_id"] == message_id


async def test_two_submissions_with_one_id_both_settle(
    shop: WebTier, shared_stage: Installation
) -> None:
    """Different tokens under one `message_id` are settled each, and each has its event."""
    tokens, message_id = [fresh("ok"), fresh("invalid")], f"twice-{uuid.uuid4()}"

    for token in tokens:
        await shop.submit(token, message_id=message_id)
    told = [await shop.event(message_id, nth) for nth in (1, 2)]

    assert {one.body["token_sha256"] for one in told} == {sha256(token).hex() for token in tokens}
    assert [(await row(shared_stage, token))["status"] for token in tokens] == [
        "resolved", "rejected"
    ]  # fmt: skip


async def test_headers_of_a_publisher_are_not_believed(
    shop: WebTier, shared_stage: Installation
) -> None:
    """Who publishes can't use up attempts or age a token with headers like the worker's own."""
    token = fresh("fail-1")
    headers = dict.fromkeys(
        ("x-resolution-attempts", "x-resolution-returns", "x-resolution-received-at"), 99
    ) | {"x-death": [{"queue": "resolution.tokens", "count": 500}]}
    message_id = f"m-{uuid.uuid4()}"
    body = json.dumps({"registration_token": token}).encode()

    await shop.publish(body, message_id=message_id, headers=headers)

    assert (await shop.event(message_id)).status == "resolved"
    assert (await row(shared_stage, token))["attempts"] == 2


async def test_properties_of_any_type_do_no_harm(shop: WebTier) -> None:
    """Strange properties, unknown members and any content type leave the token to be resolved."""
    token = fresh("ok")
    body = json.dumps(
        {"registration_token": token, "progress": "perhaps", "version": None, "more": {"a": []}}
    ).encode()
    ids = [f"é\0\n{uuid.uuid4()}", f"{'x' * 200}{uuid.uuid4()}"]

    for message_id in ids:
        await shop.publish(
            body, message_id=message_id, content_type="text/plain", type="x", priority=9,
            headers={"a": {"b": [1, None, 2.5]}}, correlation_id="\0é",
        )  # fmt: skip
    told = [await shop.event(message_id) for message_id in ids]

    assert [one.status for one in told] == ["resolved", "resolved"]
    assert {one.correlation_id for one in told} == {"\0é"}


async def test_both_lanes_are_counted(shop: WebTier, shared_worker: Worker) -> None:
    """A settled submission counts once under its lane, status and whether it was repeated."""

    async def counted(lane: str) -> tuple[float, float]:
        outcome = {"lane": lane, "status": "resolved", "repeated": "false"}
        return (
            await shared_worker.metric("resolution_submissions_total", lane=lane),
            await shared_worker.metric("resolution_outcomes_total", **outcome),
        )

    before = {lane: await counted(lane) for lane in ("live", "backlog")}
    for lane in before:
        await asyncio.gather(*(shop.settled(fresh("ok"), lane=lane) for _ in range(3)))

    for lane, (submissions, outcomes) in before.items():

        async def both(lane: str = lane, to: tuple[float, float] = (submissions, outcomes)) -> bool:
            return await counted(lane) == (to[0] + 3, to[1] + 3)

        await eventually(both, f"three more in the lane {lane}", 5)
