"""AWS that refuses, throttles, is away or talks nonsense."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from harness.installation import ATTEMPTS
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.odd_marketplace import SOUND, Reply, odd_marketplace
from tests.acceptance.outcomes import buyers, tokens

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier


async def rows(stage: Installation) -> list[dict[str, Any]]:
    """The view of outcomes."""
    return [dict(row) for row in await stage.schema.rows("SELECT * FROM resolution.outcomes")]


UNUSABLE = {
    "no JSON": Reply(b"<html>"),
    "nothing": Reply(b""),
    "no members": Reply.of({}),
    "an array": Reply.of([SOUND]),
    "null": Reply.of(None),
    "cut JSON": Reply(b'{"ProductCode": "p", "CustomerAWSAcc'),
    "no product": Reply.of({"CustomerAWSAccountId": "012345678901"}),
    "an empty product": Reply.of({**SOUND, "ProductCode": ""}),
    "nobody": Reply.of({"ProductCode": "p", "LicenseArn": "arn:1"}),
    "members of other types": Reply.of({"ProductCode": ["p"], "CustomerAWSAccountId": 5}),
    "a NUL": Reply.of({**SOUND, "ProductCode": "p\0"}),
    "not UTF-8": Reply(b'{"ProductCode": "\xff", "CustomerAWSAccountId": "0"}'),
    "endless": Reply(b" " * 3_000_000),
}
OTHERWISE = {
    "cut body": (Reply(Reply.of(SOUND).body, cut=5), "ConnectionFault"),
    "an error page": (Reply(b"<html>", 502, "text/html"), None),
    "an error without a code": (Reply.of({}, 500), None),
    "an unknown error": (Reply.of({"__type": "NewException", "message": "!"}, 400), "NewException"),
    "an error with a namespace": (
        Reply.of({"__type": "com.amazonaws#InternalServiceErrorException:http://x"}, 500),
        "InternalServiceErrorException",
    ),
    "a redirect": (Reply(b"", 307, location="http://127.0.0.1:9/"), None),
}


@pytest.mark.long
async def test_answers_that_can_not_be_used(stage: Installation, web: WebTier) -> None:
    """Nonsense makes its own token dead once the attempts are spent; neighbours are resolved."""
    replies = UNUSABLE | {what: reply for what, (reply, _) in OTHERWISE.items()}
    due = dict.fromkeys(UNUSABLE, "UnusableAnswer") | {
        w: code for w, (_, code) in OTHERWISE.items()
    }
    odd = {what: f"odd-{uuid.uuid4().hex}" for what in replies}
    async with odd_marketplace({odd[what]: reply for what, reply in replies.items()}) as url:
        worker = await stage.run(WORKER_AWS__ENDPOINT_URL=url)
        ids = {what: await web.submit(token) for what, token in odd.items()}
        neighbours = [await web.submit(token) for token in tokens("x", len(odd))]

        told = {what: (await web.event(message_id)).body for what, message_id in ids.items()}
        others = [(await web.event(message_id)).status for message_id in neighbours]
        worker.kill()

    assert {what: one["status"] for what, one in told.items()} == dict.fromkeys(odd, "dead")
    codes = {what: one["error"]["code"] for what, one in told.items()}
    assert codes == {what: code or codes[what] for what, code in due.items()}
    assert all(codes.values())
    assert others == ["resolved"] * len(neighbours)
    attempts = {row["attempts"] for row in await rows(stage) if row["status"] == "dead"}
    assert attempts == {ATTEMPTS}


@pytest.mark.long
async def test_an_answer_that_can_not_be_stored(stage: Installation, web: WebTier) -> None:
    """Members that no row can hold settle their token as dead, alone of its batch."""
    poison = tokens("poison", 3)
    huge = {token: "".join(uuid.uuid4().hex for _ in range(2_000)) for token in poison}
    replies = {token: Reply.of({**SOUND, "LicenseArn": value}) for token, value in huge.items()}
    async with odd_marketplace(replies) as url:
        await stage.run(WORKER_AWS__ENDPOINT_URL=url)
        mixed = [
            token
            for three in zip(poison, tokens("a", 3), tokens("b", 3), strict=True)
            for token in three
        ]
        ids = [await web.submit(token) for token in mixed]
        statuses = [(await web.event(message_id)).status for message_id in ids]
        for worker in stage.started:
            worker.kill()

    assert statuses == ["dead", "resolved", "resolved"] * 3


@pytest.mark.long
async def test_surplus_members_and_strange_texts_are_borne(
    stage: Installation, web: WebTier
) -> None:
    """Unknown members are ignored; an account keeps its zero, other alphabets their letters."""
    (token,) = tokens("x", 1)
    members = {**SOUND, "CustomerIdentifier": "é\U0001f600\ud800", "New": {"a": [1]}, "Metadata": 5}
    async with odd_marketplace({token: Reply.of(members)}) as url:
        worker = await stage.run(WORKER_AWS__ENDPOINT_URL=url)
        told = (await web.settled(token)).body
        worker.kill()

    assert told["status"] in {"resolved", "dead"}
    if told["status"] == "resolved":
        assert told["customer_aws_account_id"] == "012345678901"
        assert told["agreement_id"] is None


async def test_throttling_uses_up_no_attempt(stage: Installation, web: WebTier) -> None:
    """Under a tiny quota every token is resolved in the end, with a single attempt each."""
    await stage.simulator.order("PUT", "quota", {"rate": 12, "burst": 1})
    worker = await stage.run()
    ids = [await web.submit(token) for token in tokens("ok", 40)]

    assert {(await web.event(message_id)).status for message_id in ids} == {"resolved"}

    assert [row["attempts"] for row in await rows(stage)] == [1] * len(ids)
    assert await worker.metric("resolution_aws_calls_total", result="throttled") > 0
    assert await worker.metric("resolution_retries_total", reason="throttled") > 0


@pytest.mark.long
async def test_the_ceiling_is_kept_and_used(stage: Installation, web: WebTier) -> None:
    """Never more calls in a second than the ceiling, and not much fewer while tokens wait."""
    ceiling, count = 20, 110
    ids = [
        await web.submit(token, lane=lane)
        for lane in ("live", "backlog")
        for token in tokens("ok", count // 2)
    ]
    await stage.run(WORKER_RATE__CEILING=str(ceiling))
    for message_id in ids:
        await web.event(message_id)

    stats = await stage.simulator.order("GET", "stats")
    seconds = [sum(second.values()) for _, second in sorted(stats["seconds"].items())]

    print(f"calls in each second: {seconds}")  # noqa: T201 - for the reader of a report
    assert sum(seconds) == count
    assert max(seconds) <= ceiling + 1  # the simulator's seconds begin when they like
    assert min(seconds[1:-1]) >= 0.6 * ceiling


FAULTS = [
    ("ExpiredTokenException", 403, "The security token included in the request is expired"),
    ("ExpiredTokenException", 400, "The security token included in the request is expired"),
    ("AccessDeniedException", 400, "User is not authorized"),
    ("UnrecognizedClientException", 400, "The security token included in the request is invalid."),
    ("InvalidSignatureException", 403, "Signature expired"),
    ("SubscriptionRequiredException", 403, "The AWS Access Key Id needs a subscription"),
]


async def test_a_refusal_of_our_identity_settles_nothing(stage: Installation, web: WebTier) -> None:
    """While AWS refuses us no token is settled or charged, and `/readyz` says why; then all go on.

    One worker lives through every such fault in turn.
    """
    worker = await stage.run()
    ids: list[str] = []
    for code, status, message in FAULTS:
        fault = {"code": code, "status": status, "message": message}
        await stage.simulator.order("PUT", "fault", fault)
        ids += (new := [await web.submit(token) for token in tokens("ok", 5)])
        ids += [await web.submit(token, lane="backlog") for token in tokens("old", 2)]
        assert message in await worker.unready(code)
        assert await worker.metric("resolution_breaker_open") == 1
        calls = await stage.simulator.calls()
        assert (await worker.get("/healthz"))[0] == 200
        assert not any(web.events[message_id] for message_id in new)
        assert await stage.simulator.calls() <= calls + 2  # a probe at most

        await stage.simulator.order("DELETE", "fault")
        for message_id in ids:
            assert (await web.event(message_id)).status == "resolved"
        await worker.ready()
        assert await worker.metric("resolution_breaker_open") == 0

    assert {row["attempts"] for row in await rows(stage)} == {1}
    assert len(await rows(stage)) == len(ids)
    assert await stage.schema.rows("SELECT FROM resolution.dead_letter") == []


async def test_a_refusal_of_one_token_is_its_own(stage: Installation, web: WebTier) -> None:
    """A token that alone is refused becomes dead once others succeed meanwhile, and not before."""
    (denied,) = tokens("denied", 1)
    await stage.run(WORKER_RATE__CEILING="40")
    message_id = await web.submit(denied)

    async def refused() -> bool:
        calls = (await stage.simulator.order("GET", "stats"))["calls"]
        return bool(calls.get("systemic", 0) >= 5)

    await eventually(refused, "it was refused five times")
    assert not web.events, "nobody but a probe was accepted meanwhile"
    async with buyers(web) as others:
        told = (await web.event(message_id)).body
    statuses = {(await web.event(other)).status for other in others}

    assert (told["status"], told["error"]["code"]) == ("dead", "AccessDeniedException")
    assert statuses == {"resolved"}


@pytest.mark.long
async def test_absent_credentials_are_ours(stage: Installation, web: WebTier) -> None:
    """Without credentials nothing is called or settled; once they are there, work begins."""
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    message_id = await web.submit(*tokens("ok", 1))
    worker = stage.start(**nothing)
    await worker.unready("aws", "redentials")
    assert await stage.simulator.calls() == 0
    assert not web.events

    folder = stage.home / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = simulator\naws_secret_access_key = simulator\n"
    )

    assert (await web.event(message_id)).status == "resolved"
    await worker.ready()


@pytest.mark.parametrize("part", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"])
@pytest.mark.long
async def test_a_line_break_in_the_credentials_is_ours(
    stage: Installation, web: WebTier, part: str
) -> None:
    """Credentials that no request can carry stop calls, use up no attempt, and are named."""
    ids = [await web.submit(token) for token in tokens("ok", 30)]
    worker = stage.start(**{f"AWS_{part}": "simulator\n"})
    await worker.unready("aws", f"(AWS_{part}) ends with a line break; remove the line break")
    assert await worker.metric("resolution_breaker_open") == 1
    assert await stage.simulator.calls() == 0
    assert not any(web.events[message_id] for message_id in ids)
    worker.kill()

    await stage.run()
    statuses = [(await web.event(message_id)).status for message_id in ids]
    assert statuses == ["resolved"] * len(ids)
    assert {row["attempts"] for row in await rows(stage)} == {1}


@pytest.mark.long
async def test_an_outage_of_aws_spends_attempts(stage: Installation, web: WebTier) -> None:
    """Faults of the service make a token dead; a service that is out of reach makes none."""
    async with proxy_to(stage.simulator.url, shut=True) as aws:
        worker = await stage.run(WORKER_AWS__ENDPOINT_URL=aws.url)
        waiting = await web.submit(*tokens("ok", 1))
        await worker.unready("NotConnected", "comes from WORKER_AWS__ENDPOINT_URL")
        await aws.open()
        assert (await web.event(waiting)).status == "resolved"
        await stage.simulator.order("PUT", "fault", {"code": "ServiceUnavailable", "status": 503})
        ill = (await web.settled(*tokens("ok", 1))).body
        await stage.simulator.order("DELETE", "fault")
        well = await web.settled(*tokens("ok", 1))
        worker.kill()

    assert (ill["status"], ill["error"]["code"]) == ("dead", "ServiceUnavailable")
    assert well.status == "resolved"
    failed = [row["attempts"] for row in await rows(stage) if row["status"] == "dead"]
    assert failed == [ATTEMPTS]
    resolved = {row["attempts"] for row in await rows(stage) if row["status"] == "resolved"}
    assert resolved == {1}


@pytest.mark.long
async def test_a_token_waits_in_its_retry_queue(stage: Installation, web: WebTier) -> None:
    """Between attempts a token is with the broker, and comes back into its own lane."""
    (token,) = tokens(f"fail-{ATTEMPTS - 1}", 1)
    worker = await stage.run()

    told = await web.settled(token, lane="backlog")

    assert told.status == "resolved"

    async def moved() -> bool:
        return await worker.metric("resolution_submissions_total", lane="backlog") >= 2

    await eventually(moved, "it was moved and settled in the lane of its own")
    assert await worker.metric("resolution_submissions_total", lane="live") == 0
    assert await worker.metric("resolution_retries_total", reason="transient") == ATTEMPTS - 1


async def test_a_long_outage_of_aws_costs_no_token(stage: Installation, web: WebTier) -> None:
    """When every call fails calls stop, the worker stays ready, and all settle once it is over."""
    await stage.simulator.order("PUT", "fault", {"code": "ServiceUnavailable", "status": 503})
    worker = await stage.run()
    ids = [await web.submit(token) for token in tokens("ok", 60)]

    async def is_stopped() -> bool:
        return await worker.metric("resolution_breaker_open") == 1

    await eventually(is_stopped, "calls are stopped")
    assert (await worker.get("/readyz"))[0] == 200
    assert (await worker.get("/healthz"))[0] == 200
    await stage.simulator.order("DELETE", "fault")

    statuses = [(await web.event(message_id)).status for message_id in ids]
    assert statuses == ["resolved"] * len(ids)
    assert await worker.metric("resolution_breaker_open") == 0
