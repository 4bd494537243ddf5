"""The closing account: it balances if all is right, and names whatever is not."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from worker.lab.demo.account import Account, draw_up, throughput, wait, waits
from worker.lab.demo.kinds import MEMBERS, Answer
from worker.lab.demo.messages import Plan, make_plan
from worker.lab.demo.observations import Event, Received, Records
from worker.lab.demo.report import as_json, print_report
from worker.lab.demo.run import Killed, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.lab.demo.messages import Message

RUN = "demo-0a1b2c3d"
NOW = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)


@dataclass
class Run:
    """A run in which everything went as demanded; a test breaks something of it."""

    plan: Plan = field(default_factory=lambda: make_plan(RUN, 200, random.Random(1)))
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    agreements: list[dict[str, Any]] = field(default_factory=list)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    received: Received = field(default_factory=Received)

    def __post_init__(self) -> None:
        for one in self.plan.originals:
            self.outcomes.append(row := outcome(one))
            if row["status"] == "resolved":
                self.agreements.append(row)
        for one in self.plan.messages:
            self.observe(one.message_id, one.answer)
            if one.reply_to:
                self.received.replies[one.message_id].add((one.answer, one.correlation_id))
        for one in self.plan.unreadable:
            reason = f"{one.answer.error_code}: why"
            self.malformed.append({"message_id": one.message_id, "reason": reason})

    def observe(self, message_id: str, answer: Answer) -> None:
        """Receive an event about a message."""
        event = Event(NOW, NOW + timedelta(seconds=1), NOW + timedelta(seconds=2))
        event.count += 1
        event.answers.add(answer)
        self.received.events[message_id] = event

    def account(self) -> Account:
        """The account of it."""
        records = Records(self.outcomes, self.agreements, self.malformed)
        return draw_up(self.plan, records, self.received)

    def first(self, kind: str) -> Message:
        """The first token of a kind."""
        return next(one for one in self.plan.originals if one.kind.name == kind)

    def row(self, kind: str) -> dict[str, Any]:
        """The row of that token."""
        sha256 = self.first(kind).sha256
        return next(row for row in self.outcomes if row["token_sha256"] == sha256)


def outcome(one: Message) -> dict[str, Any]:
    """The row that a token's kind demands."""
    demand = one.kind.demand
    present = set(MEMBERS) - demand.without if demand.status == "resolved" else set()
    own = one.message_id
    members = {name: f"{name} of {own}" if name in present else None for name in MEMBERS}
    if one.customer:
        members["customer_aws_account_id"] = f"account of {one.customer}"
    return {
        "token_sha256": one.sha256,
        "seller": "default",
        "status": demand.status,
        "error_code": demand.error_code,
        **members,
    }


def test_the_account_balances_if_all_is_as_demanded() -> None:
    """Every token appears once, under its kind, and nothing differs."""
    account = Run().account()

    assert account.balances
    assert account.mismatches == []
    assert sum(line.tokens for line in account.lines) == 200
    assert all(line.tokens == line.found for line in account.lines)


def _lose_a_token(run: Run) -> str:
    run.outcomes.remove(run.row("ok"))
    return run.first("ok").message_id


def _double_a_token(run: Run) -> str:
    run.outcomes.append(dict(run.row("ok")))
    return run.first("ok").message_id


def _change_a_status(run: Run) -> str:
    run.row("ok")["status"] = "dead"
    return run.first("ok").message_id


def _double_an_agreement(run: Run) -> str:
    run.agreements.append(dict(run.row("old product")))
    return str(run.row("old product")["customer_aws_account_id"])


def _lose_an_agreement(run: Run) -> str:
    run.agreements.remove(run.row("ok"))
    return str(run.row("ok")["license_arn"])


def _give_a_customer_two_accounts(run: Run) -> str:
    run.row("same customer")["customer_aws_account_id"] = "another"
    return str(run.first("same customer").customer)


def _lose_an_event(run: Run) -> str:
    message_id = run.first("ok").message_id
    del run.received.events[message_id]
    return message_id


def _say_two_things(run: Run) -> str:
    message_id = run.first("ok").message_id
    run.received.events[message_id].answers.add(Answer("dead", "Timeout"))
    return message_id


def _lose_a_reply(run: Run) -> str:
    return run.received.replies.popitem()[0]


def _reply_to_another(run: Run) -> str:
    message_id, said = run.received.replies.popitem()
    run.received.replies[message_id] = {(answer, "for-another") for answer, _ in said}
    return message_id


def _lose_a_malformed_message(run: Run) -> str:
    return str(run.malformed.pop()["message_id"])


@pytest.mark.parametrize(
    "spoil",
    [
        _lose_a_token,
        _double_a_token,
        _change_a_status,
        _double_an_agreement,
        _lose_an_agreement,
        _give_a_customer_two_accounts,
        _lose_an_event,
        _say_two_things,
        _lose_a_reply,
        _reply_to_another,
        _lose_a_malformed_message,
    ],
)
def test_whatever_is_wrong_is_named(spoil: Callable[[Run], str]) -> None:
    """Anything lost, doubled or different keeps the account from balancing, and is named."""
    run = Run()
    subject = spoil(run)
    account = run.account()

    assert not account.balances
    assert subject in {one.subject for one in account.mismatches}


def test_two_tokens_with_one_licence_do_not_balance() -> None:
    """An agreement that is missing because two tokens were given one licence is noticed."""
    run = Run()
    run.agreements.remove(run.row("ok"))
    run.row("ok")["license_arn"] = run.row("new integration")["license_arn"]

    assert not run.account().balances


def result(run: Run) -> Result:
    """How a run of that run ended."""
    return Result(
        run=RUN,
        tokens=200,
        where={"database": "private", "broker": "private"},
        account=run.account(),
        waits=waits(run.plan, run.received),
        throughput=throughput(run.received),
        events=300,
        killed=Killed("worker 1", 4711, 120, len(run.plan.messages)),
        drained=True,
        left={},
        calls={"ok": 180},
    )


def test_an_ending_balances_only_if_the_rest_went_well_too() -> None:
    """Messages left behind, a worker that did not drain, or no kill at all spoil it as well."""
    good = result(Run())

    assert good.balances
    assert not replace(good, left={"resolution.tokens": 1}).balances
    assert not replace(good, drained=False).balances
    assert not replace(good, killed=None).balances


def test_the_account_is_shown_to_a_person() -> None:
    """The table has a line for every kind, the waits, the verdict and the commands to go on."""
    stream = io.StringIO()
    print_report(result(Run()), 30.0, 7, stream)
    text = stream.getvalue()

    assert all(line.kind in text for line in result(Run()).account.lines)
    assert "p50" in text
    assert "2.000 s" in text
    assert "The account balances" in text
    assert "make services" in text
    assert "\x1b" not in text


def test_what_is_wrong_is_shown_to_a_person() -> None:
    """An account that does not balance says so, and names what differs."""
    run = Run()
    subject = _change_a_status(run)
    stream = io.StringIO()
    print_report(result(run), 30.0, 7, stream)

    assert "DOES NOT BALANCE" in stream.getvalue()
    assert f"{subject} (ok): expected resolved, found dead" in stream.getvalue()


def test_the_account_is_given_to_a_program() -> None:
    """The JSON says whether it balances, and holds every line, sum and wait."""
    told = as_json(result(Run()), 30.0, 7)

    assert told["balances"] is True
    assert told["seed"] == 7
    assert sum(line["found"] for line in told["outcomes"]) == 200
    assert {wait["lane"] for wait in told["wait_seconds"]} == {"live", "backlog"}


def test_percentiles_are_waits_that_somebody_had() -> None:
    """Percentiles go by nearest rank."""
    found = wait("live", "event", [float(n) for n in range(100, 0, -1)])

    assert (found.p50, found.p95, found.p99, found.most) == (50.0, 95.0, 99.0, 100.0)
    assert found.submissions == 100


def test_waits_leave_out_clocks_that_are_off() -> None:
    """A publisher whose clock is hours behind says nothing about how long a buyer waits."""
    run = Run()
    measured = [one for one in run.plan.submissions if not one.kind.age]
    found = waits(run.plan, run.received)

    assert sum(one.submissions for one in found if one.until == "event") == len(measured)
    assert {one.p99 for one in found if one.until == "event"} == {2.0}
    assert {one.p99 for one in found if one.until == "settled_at"} == {1.0}


def test_throughput_leaves_out_both_ends() -> None:
    """A hundred answers a second give a hundred a second, though the last came a minute later."""
    received = Received()
    for n in range(1000):
        at = NOW + timedelta(seconds=n / 100)
        received.events[str(n)] = Event(NOW, at, at)
    received.events["999"].arrived_at += timedelta(minutes=1)

    assert throughput(received) == pytest.approx(100.0)
