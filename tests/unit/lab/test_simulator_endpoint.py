"""The simulator's endpoint without sockets: what comes before what, counts, and orders."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from worker.lab.simulator import admin
from worker.lab.simulator.answer import Answer, Result
from worker.lab.simulator.endpoint import Endpoint, Options, Sources, read_token
from worker.lab.simulator.latency import Latency
from worker.lab.simulator.quota import Quota
from worker.lab.simulator.signature import Request, fold
from worker.lab.simulator.stats import SECONDS_KEPT, Stats, TokenCalls

SECRET = "simulator"
RESOLVE = "AWSMPMeteringService.ResolveCustomer"
JSON_1_1 = "application/x-amz-json-1.1"


@dataclass
class Clock:
    """Time and chance as the test wants them."""

    epoch_s: float = 0.0
    monotonic_s: float = 0.0
    draws: list[float] = field(default_factory=list)

    def sources(self) -> Sources:
        """Them, as the endpoint takes them."""
        return Sources(
            lambda: self.epoch_s,
            lambda: self.monotonic_s,
            lambda: self.draws.pop(0) if self.draws else 0.5,
        )


class Aws:
    """An endpoint, and a seller who calls it."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        secrets = {"simulator": "simulator"}
        self.endpoint = Endpoint(Options(secrets, **options), self.clock.sources())

    def post(
        self,
        body: bytes,
        *,
        secret: str = SECRET,
        target: str = RESOLVE,
        content_type: str = JSON_1_1,
        path: str = "",
    ) -> Answer:
        """Send a signed call."""
        headers = {"X-Amz-Target": target, "Content-Type": content_type, "Host": "h"}
        request = AWSRequest("POST", f"http://h/{path}", headers=headers, data=body)
        SigV4Auth(Credentials("simulator", secret), "aws-marketplace", "eu-west-1").add_auth(
            request
        )
        sent = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        self.clock.epoch_s = _epoch(request.headers["X-Amz-Date"])
        return self.endpoint.answer(Request("POST", f"/{path}", fold(sent), body))

    def resolve(self, token: str, secret: str = SECRET) -> Answer:
        """Ask for one token."""
        return self.post(json.dumps({"RegistrationToken": token}).encode(), secret=secret)

    def order(self, method: str, path: str, body: object = None) -> admin.Reply:
        """Give the simulator an order."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return admin.reply(self.endpoint, method, f"/_simulator/{path}", data)

    def stats(self) -> Any:
        """The counts."""
        return json.loads(self.order("GET", "stats").body)


def _epoch(stamp: str) -> float:
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def code(given_answer: Answer) -> str:
    """The answer's error code."""
    return str(json.loads(given_answer.body)["__type"])


def test_a_call_is_resolved_and_counted() -> None:
    """A good call resolves, and shows in all three counts."""
    aws = Aws()

    assert aws.resolve("ok-1").result is Result.OK

    stats = aws.stats()
    none = {"ok": 0, "token": 0, "throttled": 0, "transient": 0, "systemic": 0}
    assert stats["calls"] == none | {"ok": 1}
    assert stats["seconds"] == {str(int(aws.clock.epoch_s)): none | {"ok": 1}}
    assert stats["tokens"] == 1


def test_a_token_is_counted_once_however_often_it_is_called() -> None:
    """`tokens` counts distinct tokens, `calls` counts calls."""
    aws = Aws()

    for token in ("ok-1", "ok-2", "ok-1", "invalid-1"):
        aws.resolve(token)

    assert aws.stats()["tokens"] == 3
    assert aws.stats()["calls"]["ok"] == 3
    assert aws.stats()["calls"]["token"] == 1


@pytest.mark.parametrize(
    ("token", "results"),
    [
        ("fail-2-1", ["transient", "transient", "ok", "ok"]),
        ("throttle-1-1", ["throttled", "ok", "ok", "ok"]),
        ("hang-1", ["transient"] * 4),
        ("denied-1", ["systemic"] * 4),
    ],
)
def test_a_tokens_calls_are_numbered(token: str, results: list[str]) -> None:
    """What happens at a token's nth call happens at its nth, whatever others are called."""
    aws = Aws()

    got = [(aws.resolve("ok-other"), aws.resolve(token))[1].result for _ in results]

    assert got == results


def test_every_call_for_a_token_counts_as_one_of_its_calls() -> None:
    """A call that a fault or its signature refused is one of the token's calls all the same."""
    aws = Aws()
    aws.order("PUT", "fault", {"code": "DisabledApiException"})
    aws.resolve("fail-2-1")
    aws.order("DELETE", "fault")
    aws.resolve("fail-2-1", secret="wrong")

    assert aws.resolve("fail-2-1").result is Result.OK


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", "ValidationException"),
        (b'{"RegistrationToken": null}', "ValidationException"),
        (b'{"RegistrationToken": ""}', "ValidationException"),
        (b'{"registrationToken": "ok-1"}', "ValidationException"),
        (b'{"RegistrationToken": 5}', "SerializationException"),
        (b"[]", "SerializationException"),
        (b"", "SerializationException"),
        (b'{"RegistrationToken": "ok-1"', "SerializationException"),
        (b'{"RegistrationToken": "\xff"}', "SerializationException"),
    ],
)
def test_a_call_without_a_usable_token_is_refused(body: bytes, error: str) -> None:
    """A body that is no JSON, or holds no token, gets AWS's error for that."""
    given_answer = Aws().post(body)

    assert (given_answer.status, code(given_answer)) == (400, error)
    assert given_answer.result is Result.SYSTEMIC


@given(body=st.binary(max_size=80))
def test_no_body_breaks_the_endpoint(body: bytes) -> None:
    """Any bytes are read as a token, or refused."""
    assert isinstance(read_token(body), str | Answer)
    assert isinstance(read_token(b'{"RegistrationToken": "' + body + b'"}'), str | Answer)


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "AWSMPMeteringService.MeterUsage"},
        {"target": "ResolveCustomer"},
        {"content_type": "application/json"},
        {"path": "other"},
    ],
)
def test_there_is_one_operation(changed: dict[str, str]) -> None:
    """Another operation, content type or path is an unknown operation."""
    given_answer = Aws().post(b'{"RegistrationToken": "ok-1"}', **changed)

    assert (given_answer.status, code(given_answer)) == (404, "UnknownOperationException")


def test_a_content_type_may_name_its_character_set() -> None:
    """A parameter after the content type is no matter."""
    given_answer = Aws().post(
        b'{"RegistrationToken": "ok-1"}', content_type=f"{JSON_1_1}; charset=utf-8"
    )

    assert given_answer.result is Result.OK


def test_a_wrong_signature_is_refused_and_spends_no_quota() -> None:
    """Who is not let in is answered 403 and uses up nobody's quota."""
    aws = Aws(quota=Quota(rate=0, burst=1))

    refused = aws.resolve("ok-1", secret="wrong")

    assert (refused.status, code(refused)) == (403, "InvalidSignatureException")
    assert refused.result is Result.SYSTEMIC
    assert aws.resolve("ok-1").result is Result.OK


def test_calls_beyond_the_quota_are_throttled_until_it_refills() -> None:
    """Past the burst calls get ThrottlingException, and pass again at the rate."""
    aws = Aws(quota=Quota(rate=1, burst=2))

    results = [aws.resolve(f"ok-{n}").result for n in range(3)]
    throttled = aws.resolve("invalid-1")
    aws.clock.monotonic_s += 1

    assert results == ["ok", "ok", "throttled"]
    assert (throttled.status, code(throttled)) == (400, "ThrottlingException")
    assert json.loads(throttled.body)["message"] == "Rate exceeded"
    assert aws.resolve("ok-3").result is Result.OK


def test_the_quota_changes_live() -> None:
    """An order puts another quota in force, and lifts it."""
    aws = Aws()

    assert aws.order("PUT", "quota", {"rate": 0, "burst": 1}).status == 200
    assert [aws.resolve("ok-1").result for _ in range(2)] == ["ok", "throttled"]
    lifted = aws.order("PUT", "quota", {"rate": None})
    assert json.loads(lifted.body) == {"rate": None, "burst": None}
    aws.clock.monotonic_s += 1
    assert aws.resolve("ok-1").result is Result.OK


def test_a_fault_answers_every_call_until_it_is_ended() -> None:
    """While a fault is in force it answers all calls, quota and signature notwithstanding."""
    aws = Aws(quota=Quota(rate=0, burst=1))
    order = {"code": "AccessDeniedException", "status": 400, "message": "not now, später"}

    assert aws.order("PUT", "fault", order).status == 200
    for given_answer in (aws.resolve("ok-1"), aws.resolve("ok-2", secret="no"), aws.post(b"")):
        assert given_answer.status == 400
        assert json.loads(given_answer.body) == {
            "__type": "AccessDeniedException",
            "message": "not now, später",
        }
    assert aws.order("DELETE", "fault").status == 200
    assert aws.resolve("ok-1").result is Result.OK
    assert aws.stats()["calls"]["systemic"] == 3


def test_a_share_of_calls_fails() -> None:
    """With an error rate of a quarter, draws below a quarter are answered with a 500."""
    aws = Aws(error_rate=0.25)
    # Two draws a call: whether it fails, and how long it takes.
    aws.clock.draws = [0.24, 0.5, 0.25, 0.5]

    failed, passed = aws.resolve("ok-1"), aws.resolve("ok-1")

    assert (failed.status, code(failed)) == (500, "InternalServiceErrorException")
    assert passed.result is Result.OK


def test_the_latency_adds_to_what_a_token_asks_for() -> None:
    """Every answer takes the latency, a slow token's its own time besides."""
    aws = Aws(latency=Latency(0.05))

    assert aws.resolve("ok-1").delay_s == pytest.approx(0.05)
    assert aws.resolve("invalid-1").delay_s == pytest.approx(0.05)
    assert aws.resolve("slow-200-1").delay_s == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("PUT", "quota", {"rate": -1, "burst": 1}, 400, "rate"),
        ("PUT", "quota", {"rate": "fast"}, 400, "rate"),
        ("PUT", "quota", {"rate": True}, 400, "rate"),
        ("PUT", "quota", {"rate": 1, "burst": 0.2}, 400, "burst"),
        ("PUT", "quota", {"burst": 1}, 400, "rate"),
        ("PUT", "quota", {"rate": 1, "brust": 1}, 400, "brust"),
        ("PUT", "quota", [], 400, "object"),
        ("PUT", "quota", b"rate=40", 400, "JSON"),
        ("PUT", "quota", b"", 400, "data"),
        ("PUT", "quota", b"\xff", 400, ""),
        ("PUT", "fault", {}, 400, "code"),
        ("PUT", "fault", {"code": ""}, 400, "code"),
        ("PUT", "fault", {"code": "X", "status": 200}, 400, "status"),
        ("PUT", "fault", {"code": "X", "status": "400"}, 400, "status"),
        ("PUT", "fault", {"code": "X", "message": 1}, 400, "message"),
        ("POST", "fault", {"code": "X"}, 405, "PUT, DELETE"),
        ("PUT", "stats", {}, 405, "GET"),
        ("GET", "other", None, 404, "/_simulator/stats"),
    ],
)
def test_an_order_that_cannot_be_followed_says_why_and_changes_nothing(
    method: str, path: str, body: object, status: int, named: str
) -> None:
    """A bad order is refused by the name of what is wrong, and calls are answered as before."""
    aws = Aws()

    reply = aws.order(method, path, body)

    assert reply.status == status
    assert named in json.loads(reply.body)["error"]
    assert aws.resolve("ok-1").result is Result.OK


def test_neither_token_nor_secret_is_shown_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Error answers, counts, logs and `repr` hold neither tokens nor secret keys."""
    caplog.set_level(logging.DEBUG, "worker")
    aws = Aws(error_rate=0.0)
    tokens = [f"{word}-very-private" for word in ("invalid", "expired", "denied", "other")]

    shown = [aws.resolve(token).body.decode() for token in tokens]
    shown += [json.dumps(aws.stats()), caplog.text, repr(Options({"key": "very-private"}))]

    assert "very-private" not in "".join(shown)


def test_seconds_are_kept_for_a_day() -> None:
    """The counts by second hold the last day's seconds, the oldest going first."""
    stats = Stats()

    for second in range(SECONDS_KEPT + 2):
        stats.note(Result.OK, second + 0.9)

    counts = stats.as_json()
    assert len(counts["seconds"]) == SECONDS_KEPT
    assert "1" not in counts["seconds"]
    assert counts["seconds"]["2"]["ok"] == 1
    assert counts["calls"]["ok"] == SECONDS_KEPT + 2


@given(tokens=st.lists(st.sampled_from("abcdef"), max_size=60))
def test_calls_are_numbered_per_token(tokens: list[str]) -> None:
    """Each token's calls are numbered from 1, and distinct tokens counted."""
    calls = TokenCalls()

    assert [calls.note(t) for t in tokens] == [
        tokens[: i + 1].count(t) for i, t in enumerate(tokens)
    ]
    assert calls.distinct == len(set(tokens))


def test_memory_for_tokens_is_bounded() -> None:
    """Past its limit the record of tokens starts over, while their number goes on."""
    calls = TokenCalls(limit=2)

    assert [calls.note(t) for t in ("a", "b", "a", "c", "b")] == [1, 1, 2, 1, 1]
    assert calls.distinct == 4
