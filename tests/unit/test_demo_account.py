"""The closing account: it balances if all is right, and names whatever is not."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from worker.lab.demo.account import Account, settle
from worker.lab.demo.findings import Answer, Heard, Hearing, Records
from worker.lab.demo.kinds import MEMBERS
from worker.lab.demo.load import Killed
from worker.lab.demo.plan import Plan, plan
from worker.lab.demo.report import as_json, show
from worker.lab.demo.run import Ending
from worker.lab.demo.waits import throughput, wait, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.lab.demo.submissions import Submission

RUN = "demo-0a1b2c3d"
NOW = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)


@dataclass
class World:
    """A run in which everything went as demanded; a test breaks something of it."""

    plan: Plan = field(default_factory=lambda: plan(RUN, 200, random.Random(1)))
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    agreements: list[dict[str, Any]] = field(default_factory=list)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    hearing: Hearing = field(default_factory=Hearing)

    def __post_init__(self) -> None:
        for one in self.plan.originals:
            self.outcomes.append(row := outcome(one))
            if row["status"] == "resolved":
                self.agreements.append(row)
        for one in self.plan.submissions:
            answer = Answer(one.kind.demand.status, one.kind.demand.error_code)
            self.hear(one.message_id, answer)
            if one.reply_to:
                self.hearing.replies[one.message_id].add((answer, f"for-{one.message_id}"))
        for spoilt in self.plan.spoilt:
            reason = f"{spoilt.blunder.code}: why"
            self.malformed.append({"message_id": spoilt.message_id, "reason": reason})
            self.hear(spoilt.message_id, Answer("malformed", spoilt.blunder.code))

    def hear(self, message_id: str, answer: Answer) -> None:
        """Hear an event about a message."""
        heard = Heard(NOW, NOW + timedelta(seconds=1), NOW + timedelta(seconds=2))
        heard.events += 1
        heard.answers.add(answer)
        self.hearing.events[message_id] = heard

    def account(self) -> Account:
        """The account of it."""
        records = Records(self.outcomes, self.agreements, self.malformed)
        return settle(self.plan, records, self.hearing)

    def first(self, kind: str) -> Submission:
        """The first token of a kind."""
        return next(one for one in self.plan.originals if one.kind.name == kind)

    def row(self, kind: str) -> dict[str, Any]:
        """The row of that token."""
        sha256 = self.first(kind).sha256
        return next(row for row in self.outcomes if row["token_sha256"] == sha256)


def outcome(one: Submission) -> dict[str, Any]:
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
        "attempts": demand.attempts,
        **members,
    }


def test_the_account_balances_if_all_is_as_demanded() -> None:
    """Every token appears once, under its kind, and nothing differs."""
    account = World().account()

    assert account.balances
    assert account.mismatches == []
    assert sum(line.tokens for line in account.lines) == 200
    assert all(line.tokens == line.found for line in account.lines)


def _lose_a_token(world: World) -> str:
    world.outcomes.remove(world.row("ok"))
    return world.first("ok").message_id


def _double_a_token(world: World) -> str:
    world.outcomes.append(dict(world.row("ok")))
    return world.first("ok").message_id


def _change_a_status(world: World) -> str:
    world.row("ok")["status"] = "dead"
    return world.first("ok").message_id


def _double_an_agreement(world: World) -> str:
    world.agreements.append(dict(world.row("old product")))
    return str(world.row("old product")["customer_aws_account_id"])


def _lose_an_agreement(world: World) -> str:
    world.agreements.remove(world.row("ok"))
    return str(world.row("ok")["license_arn"])


def _give_a_customer_two_accounts(world: World) -> str:
    world.row("same customer")["customer_aws_account_id"] = "another"
    return str(world.first("same customer").customer)


def _lose_an_event(world: World) -> str:
    message_id = world.first("ok").message_id
    del world.hearing.events[message_id]
    return message_id


def _say_two_things(world: World) -> str:
    message_id = world.first("ok").message_id
    world.hearing.events[message_id].answers.add(Answer("dead", "Timeout"))
    return message_id


def _lose_a_reply(world: World) -> str:
    return world.hearing.replies.popitem()[0]


def _reply_to_another(world: World) -> str:
    message_id, said = world.hearing.replies.popitem()
    world.hearing.replies[message_id] = {(answer, "for-another") for answer, _ in said}
    return message_id


def _lose_a_malformed_message(world: World) -> str:
    return str(world.malformed.pop()["message_id"])


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
def test_whatever_is_wrong_is_named(spoil: Callable[[World], str]) -> None:
    """Anything lost, doubled or different keeps the account from balancing, and is named."""
    world = World()
    subject = spoil(world)
    account = world.account()

    assert not account.balances
    assert subject in {one.subject for one in account.mismatches}


def test_two_tokens_with_one_licence_do_not_balance() -> None:
    """An agreement that is missing because two tokens were given one licence is noticed."""
    world = World()
    world.agreements.remove(world.row("ok"))
    world.row("ok")["license_arn"] = world.row("new integration")["license_arn"]

    assert not world.account().balances


def ending(world: World) -> Ending:
    """How a run of that world ended."""
    return Ending(
        run=RUN,
        tokens=200,
        where={"database": "private", "broker": "private"},
        account=world.account(),
        waits=waits(world.plan, world.hearing),
        throughput=throughput(world.hearing),
        events=300,
        killed=Killed("worker 1", 4711, 120, world.plan.total),
        drained=True,
        left={},
        calls={"ok": 180},
    )


def test_an_ending_balances_only_if_the_rest_went_well_too() -> None:
    """Messages left behind, a worker that did not drain, or no kill at all spoil it as well."""
    good = ending(World())

    assert good.balances
    assert not replace(good, left={"resolution.tokens": 1}).balances
    assert not replace(good, drained=False).balances
    assert not replace(good, killed=None).balances


def test_the_account_is_shown_to_a_person() -> None:
    """The table has a line for every kind, the waits, the verdict and the commands to go on."""
    stream = io.StringIO()
    show(ending(World()), 30.0, 7, stream)
    text = stream.getvalue()

    assert all(line.kind in text for line in ending(World()).account.lines)
    assert "p50" in text
    assert "2.000 s" in text
    assert "The account balances" in text
    assert "make services" in text
    assert "\x1b" not in text


def test_what_is_wrong_is_shown_to_a_person() -> None:
    """An account that does not balance says so, and names what differs."""
    world = World()
    subject = _change_a_status(world)
    stream = io.StringIO()
    show(ending(world), 30.0, 7, stream)

    assert "DOES NOT BALANCE" in stream.getvalue()
    assert f"{subject} (ok): expected resolved, found dead" in stream.getvalue()


def test_the_account_is_given_to_a_program() -> None:
    """The JSON says whether it balances, and holds every line, sum and wait."""
    told = as_json(ending(World()), 30.0, 7)

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
    world = World()
    measured = [one for one in world.plan.submissions if not one.kind.age]
    found = waits(world.plan, world.hearing)

    assert sum(one.submissions for one in found if one.until == "event") == len(measured)
    assert {one.p99 for one in found if one.until == "event"} == {2.0}
    assert {one.p99 for one in found if one.until == "settled_at"} == {1.0}


def test_throughput_leaves_out_both_ends() -> None:
    """A hundred answers a second give a hundred a second, though the last came a minute later."""
    hearing = Hearing()
    for n in range(1000):
        at = NOW + timedelta(seconds=n / 100)
        hearing.events[str(n)] = Heard(NOW, at, at)
    hearing.events["999"].arrived_at += timedelta(minutes=1)

    assert throughput(hearing) == pytest.approx(100.0)
