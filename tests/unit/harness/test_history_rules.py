"""The history checker passes what went well, and finds out each forgery."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness.history import (
    EVENT,
    MALFORMED,
    PARKED,
    REPLY,
    RESOLVED,
    TOO_OLD,
    Call,
    Due,
    History,
    Kind,
    Received,
    Submission,
    check,
    due,
    said,
    sha,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CANARY = "canary0123456789"
NOON = 1_800_000_000.0


def submission(number: int, word: str, **changes: Any) -> Submission:
    """The submission of a token of one kind, whose sender wants a reply."""
    token = f"{word}-{CANARY}"
    made = Submission(
        message_id=f"m-{number}",
        body=json.dumps({"registration_token": token}).encode(),
        token=token,
        due=(due(token),),
        at=NOON + number,
        reply_to=f"resolution.reply.{number}",
        correlation_id=f"c-{number}",
        metadata={"of": number},
    )
    return replace(made, **changes)


SENT = [
    submission(0, "ok-0"),
    submission(1, "ok-0", reply_to=None, metadata=None),  # a copy
    submission(2, "old-2"),
    submission(3, "same-123456789012-3"),
    submission(4, "same-123456789012-4"),
    submission(5, "invalid-5"),
    submission(6, "hang-6"),
    submission(7, "ok-7", due=(TOO_OLD,), at=NOON - 5 * 3600),
    submission(8, "unknown-8", token=None, body=b"bad", due=(Due(MALFORMED),)),
    submission(9, "ok-9", body=b"poison", due=(Due(PARKED),), reply_to=None),
]
BY_ID = {one.message_id: one for one in SENT}


def flawless() -> History:
    """What is found of these if all went well."""
    found = History(
        queues={"resolution.tokens": 0},
        texts={"the log": '{"event": "settled"}'},
        canaries=[CANARY],
        one_process=True,
        calls=[],
    )
    for one in SENT:
        if one.may_be(PARKED):
            found.letters.append(letter(one))
            continue
        found.received += received(one)
        if one.may_be(MALFORMED):
            found.malformed.append({"message_id": one.message_id, "body_sha256": one.body_sha256})
            found.letters.append(letter(one))
        elif all(row["token_sha256"] != one.key for row in found.outcomes):
            settle(found, one)
    return found


def settle(found: History, one: Submission) -> None:
    """All that a readable submission leaves behind, the first time."""
    assert one.token is not None
    assert one.key is not None
    resolved = one.may_be(RESOLVED)
    says = said(one.token) if resolved else dict.fromkeys(said("ok-1"))
    found.outcomes.append(
        {
            "token_sha256": one.key,
            "message_id": one.message_id,
            "status": one.due[0].status,
            "error_code": one.due[0].error_code,
            "settled_at": datetime.fromtimestamp(one.at + 1, UTC),
            **says,
        }
    )
    if one.due[0] != TOO_OLD:
        called(found).append(Call(one.key, one.at + 0.5, one.at + 0.6))
    if resolved:
        found.agreements.append(dict(says))
    else:
        found.letters.append(letter(one))


def received(one: Submission) -> list[Received]:
    """Its event and, where one is wanted, its reply."""
    status, code = one.due[0]
    assert one.token or one.key is None
    says = said(one.token) if one.token and status == RESOLVED else dict.fromkeys(said("ok-1"))
    body = {
        "message_id": one.message_id,
        "status": status,
        "token_sha256": one.key.hex() if one.key else None,
        "error": {"code": code or "BodyNotJson"} if status != RESOLVED else None,
        "metadata": (one.metadata or {}) if one.key else {},
        **says,
    }
    event = Received(EVENT, f"token.{status}", one.correlation_id, body, one.at + 2)
    if one.reply_to is None:
        return [event]
    return [event, Received(REPLY, one.reply_to, one.correlation_id, dict(body), one.at + 2)]


def letter(one: Submission) -> dict[str, Any]:
    """Its dead letter."""
    parked = one.may_be(PARKED)
    return {
        "message_id": "parked-1" if parked else one.message_id,
        "reason": one.due[0].status,
        "state": "open",
        "token_sha256": None if parked else one.key,
        "body_sha256": one.body_sha256,
    }


def called(found: History) -> list[Call]:
    """The calls, which are counted here."""
    assert found.calls is not None
    return found.calls


def the(found: History, ident: str, channel: str = EVENT) -> int:
    """The place of what was told about a message."""
    return next(
        place
        for place, one in enumerate(found.received)
        if one.body["message_id"] == ident and one.channel == channel
    )


def forged(found: History, ident: str, channel: str = EVENT, **changes: Any) -> None:
    """Change what was told: fields of `Received`, or members of its body."""
    place = the(found, ident, channel)
    fields = {
        name: changes.pop(name)
        for name in ("routing_key", "correlation_id", "at")
        if name in changes
    }
    received = found.received[place]
    found.received[place] = replace(received, body={**received.body, **changes}, **fields)


def retold(found: History, ident: str, **changes: Any) -> None:
    """Tell the same event again, and otherwise."""
    found.received.append(found.received[the(found, ident)])
    forged(found, ident, **changes)


def unsaid(found: History, ident: str, channel: str = EVENT, left: int = 0) -> None:
    """Take back what was told; so many messages are left."""
    del found.received[the(found, ident, channel)]
    found.queues["resolution.tokens"] = left


def row(found: History, ident: str) -> dict[str, Any]:
    """The outcome of a message's token."""
    return next(row for row in found.outcomes if row["message_id"] == ident)


def without(rows: list[dict[str, Any]], ident: str) -> None:
    """Take the rows of a message away."""
    rows[:] = [row for row in rows if row["message_id"] != ident]


def wrote(found: History, text: str) -> None:
    """Let a log say something."""
    found.texts["the log"] += text


def test_a_flawless_history_passes() -> None:
    """The checker has nothing against a history in which all went well."""
    assert check(SENT, flawless()) == []


def test_what_may_happen_twice_passes() -> None:
    """Events come at least once, and a reply may say first that it takes a while."""
    found = flawless()
    place = the(found, "m-0", REPLY)
    pending = replace(
        found.received[place], body={"message_id": "m-0", "status": "pending", "reason": "queued"}
    )
    found.received = [*found.received, *found.received]
    found.received.insert(place, pending)

    assert check([*SENT, SENT[0]], found) == []


def test_what_was_never_confirmed_may_be_gone() -> None:
    """Only what the broker has confirmed can be lost."""
    unsure = submission(20, "ok-20", confirmed=False)

    assert check([*SENT, unsure], flawless()) == []


def test_an_outcomes_time_is_only_as_good_as_the_clock_was_measured() -> None:
    """One call alone is never one too many, though its outcome seems to be from before it."""
    found = flawless()
    found.outcomes[0]["settled_at"] -= timedelta(seconds=1)

    assert check(SENT, found) == []


def test_other_processes_need_not_know_at_once() -> None:
    """With several processes, a token may be called for once more while another settles it."""
    found = flawless()
    found.one_process = False
    called(found).append(Call(sha(f"ok-0-{CANARY}".encode()), NOON + 3))

    assert check(SENT, found) == []


FORGERIES: Mapping[str, tuple[Kind, Callable[[History], Any]]] = {
    "event lost while its message is acked": (Kind.EARLY_ACK, lambda h: unsaid(h, "m-1")),
    "event lost, something left": (
        Kind.LOST, lambda h: unsaid(h, "m-1", left=1),
    ),
    "reply lost": (Kind.LOST, lambda h: unsaid(h, "m-0", REPLY)),
    "only pending": (Kind.LOST, lambda h: forged(h, "m-0", REPLY, status="pending")),
    "event of another status": (Kind.WRONG, lambda h: forged(h, "m-5", status="dead")),
    "event of another code": (Kind.WRONG, lambda h: forged(h, "m-5", error={"code": "Timeout"})),
    "event under another key": (
        Kind.WRONG, lambda h: forged(h, "m-5", routing_key="token.resolved"),
    ),
    "second event that differs": (
        Kind.WRONG, lambda h: retold(h, "m-0", status="dead"),
    ),
    "stranger's event": (Kind.STRANGER, lambda h: forged(h, "m-0", message_id="m-99")),
    "stranger's reply": (Kind.STRANGER, lambda h: forged(h, "m-0", REPLY, message_id="m-99")),
    "event of a parked message": (
        Kind.WRONG, lambda h: h.received.append(replace(h.received[0], body={"message_id": "m-9"})),
    ),
    "reply to another requester": (
        Kind.MISDIRECTED, lambda h: forged(h, "m-0", REPLY, routing_key="resolution.reply.3"),
    ),
    "reply to nobody who asked": (
        Kind.MISDIRECTED,
        lambda h: h.received.append(
            replace(h.received[the(h, "m-1")], channel=REPLY, routing_key="resolution.reply.0")
        ),
    ),
    "another's correlation id": (
        Kind.MISDIRECTED, lambda h: forged(h, "m-0", REPLY, correlation_id="c-3"),
    ),
    "another's metadata": (Kind.MISDIRECTED, lambda h: forged(h, "m-0", REPLY, metadata={"of": 3})),
    "metadata that nobody gave": (Kind.MISDIRECTED, lambda h: forged(h, "m-1", metadata={"of": 0})),
    "another's token": (Kind.MISDIRECTED, lambda h: forged(h, "m-0", token_sha256="00" * 32)),
    "another's customer told": (
        Kind.MISDIRECTED, lambda h: forged(h, "m-0", REPLY, customer_aws_account_id="123456789012"),
    ),
    "another's licence told": (
        Kind.MISDIRECTED, lambda h: forged(h, "m-3", license_arn=row(h, "m-4")["license_arn"]),
    ),
    "a failure told with a customer": (
        Kind.MISDIRECTED, lambda h: forged(h, "m-5", customer_aws_account_id="123456789012"),
    ),
    "told before it was settled": (Kind.EARLY_ACK, lambda h: forged(h, "m-0", at=NOON - 5)),
    "told, and not in the ledger": (Kind.EARLY_ACK, lambda h: without(h.outcomes, "m-0")),
    "told as resolved, and settled as dead": (
        Kind.EARLY_ACK, lambda h: row(h, "m-0").update(status="dead"),
    ),
    "outcome lost": (Kind.LOST, lambda h: without(h.outcomes, "m-5")),
    "outcome doubled": (Kind.DOUBLED, lambda h: h.outcomes.append(h.outcomes[0])),
    "stranger's outcome": (
        Kind.STRANGER, lambda h: h.outcomes.append({**h.outcomes[0], "token_sha256": b"x" * 32}),
    ),
    "wrong status": (Kind.WRONG, lambda h: row(h, "m-5").update(status="dead")),
    "wrong code": (Kind.WRONG, lambda h: row(h, "m-6").update(error_code="ConnectionFault")),
    "another's customer": (
        Kind.WRONG, lambda h: row(h, "m-0").update(customer_aws_account_id="123456789012"),
    ),
    "failed, yet with a customer": (
        Kind.WRONG, lambda h: row(h, "m-5").update(customer_aws_account_id="123456789012"),
    ),
    "agreement lost": (Kind.LOST, lambda h: h.agreements.pop()),
    "agreement doubled": (Kind.DOUBLED, lambda h: h.agreements.append(h.agreements[0])),
    "agreement without licence doubled": (
        Kind.DOUBLED, lambda h: h.agreements.append(h.agreements[1]),
    ),
    "stranger's agreement": (Kind.STRANGER, lambda h: h.agreements.append(dict(said("ok-99")))),
    "malformed message lost": (Kind.LOST, lambda h: h.malformed.clear()),
    "malformed message doubled": (Kind.DOUBLED, lambda h: h.malformed.append(h.malformed[0])),
    "sound message recorded as malformed": (
        Kind.STRANGER,
        lambda h: h.malformed.append({"message_id": "m-0", "body_sha256": SENT[0].body_sha256}),
    ),
    "letter lost": (Kind.LOST, lambda h: without(h.letters, "m-5")),
    "parked message lost": (Kind.LOST, lambda h: without(h.letters, "parked-1")),
    "letter doubled": (Kind.DOUBLED, lambda h: h.letters.append(h.letters[0])),
    "letter of a resolved token": (Kind.WRONG, lambda h: h.letters.append(letter(BY_ID["m-0"]))),
    "letter for another reason": (Kind.WRONG, lambda h: h.letters[0].update(reason="dead")),
    "sound message parked": (
        Kind.WRONG,
        lambda h: h.letters.append({**letter(BY_ID["m-9"]), "body_sha256": SENT[0].body_sha256}),
    ),
    "stranger's letter": (
        Kind.STRANGER,
        lambda h: h.letters.append({**h.letters[0], "message_id": "m-99"}),
    ),
    "called past its lifetime": (
        Kind.LATE_CALL, lambda h: called(h).append(Call(BY_ID["m-7"].key or b"", NOON + 8)),
    ),
    "called four hours later": (
        Kind.LATE_CALL, lambda h: called(h).append(Call(BY_ID["m-5"].key or b"", NOON + 14_406)),
    ),
    "called for though it was known": (
        Kind.DOUBLED, lambda h: called(h).append(Call(BY_ID["m-0"].key or b"", NOON + 9)),
    ),
    "called for a stranger": (Kind.STRANGER, lambda h: called(h).append(Call(b"x" * 32, NOON))),
    "resolved without a call": (Kind.WRONG, lambda h: called(h).pop(0)),
    "left in a queue": (Kind.LEFT, lambda h: h.queues.update({"resolution.backlog": 2})),
    "token in a log": (Kind.LEAKED, lambda h: wrote(h, f"ok-0-{CANARY}")),
    "part of a token in a log": (Kind.LEAKED, lambda h: wrote(h, f"…{CANARY}")),
    "token in hexadecimal": (Kind.LEAKED, lambda h: wrote(h, CANARY.encode().hex())),
    "token in an event": (Kind.LEAKED, lambda h: forged(h, "m-0", metadata={"a": CANARY})),
    "token in a correlation id": (Kind.LEAKED, lambda h: forged(h, "m-0", correlation_id=CANARY)),
    "token in the ledger": (Kind.LEAKED, lambda h: row(h, "m-5").update(error_message=CANARY)),
    "token in a letter's bytes": (
        Kind.LEAKED, lambda h: h.letters[0].update(sealed=CANARY.encode()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_history_is_found_out(forgery: str) -> None:
    """The checker names what is wrong, as what it is."""
    kind, forge = FORGERIES[forgery]
    found = flawless()

    forge(found)

    assert kind in {finding.kind for finding in check(SENT, found)}


@pytest.mark.parametrize("before", range(6))
def test_base64_is_read_wherever_it_begins(before: int) -> None:
    """A token is found in Base64, whatever stands before it."""
    found = flawless()
    wrote(found, base64.b64encode(b"a" * before + CANARY.encode() + b"zz").decode())

    assert [finding.kind for finding in check(SENT, found)] == [Kind.LEAKED]


def test_without_canaries_each_token_is_looked_for() -> None:
    """Tokens that have nothing in common are each looked for by themselves."""
    found = flawless()
    found.canaries = ()
    wrote(found, f"of hang-6-{CANARY}!")

    assert [finding.kind for finding in check(SENT, found)] == [Kind.LEAKED]


def test_findings_name_no_token() -> None:
    """What the checker says may be printed: it names messages, never a token."""
    for kind, forge in FORGERIES.values():
        found = flawless()
        forge(found)
        if kind is not Kind.LEAKED:
            assert not any(CANARY in str(finding) for finding in check(SENT, found))
