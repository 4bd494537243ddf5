"""What a token's first word makes of it: a table from words to answers."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from worker.lab.simulator.agreement import Members, members
from worker.lab.simulator.answer import (
    DENIED,
    EMPTY,
    EXPIRED,
    GARBAGE,
    INTERNAL,
    INVALID,
    THROTTLED,
    Answer,
    Result,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER: Final = re.compile("([0-9]{1,9})-")
_HANGS: Final = Answer(Result.TRANSIENT, 200, b"", delay_s=math.inf)
_MS_PER_S: Final = 1000


class Call(NamedTuple):
    """One call for a token.

    Attributes:
        token: The whole registration token.
        rest: What follows the token's first word and its hyphen.
        nth: Which call for this token this is, counted from 1.
        access_key: The access key that signed it.
    """

    token: str
    rest: str
    nth: int
    access_key: str


def answer(token: str, nth: int, access_key: str) -> Answer:
    """The answer to the `nth` call for `token` (from 1), signed by `access_key`."""
    word, hyphen, rest = token.partition("-")
    rule = _RULES.get(word) if hyphen else None
    return rule(Call(token, rest, nth, access_key)) if rule else INVALID


def _resolved(found: Members) -> Answer:
    return Answer(Result.OK, 200, orjson.dumps(found))


def _ok(call: Call) -> Answer:
    return _resolved(members(call.token, customer=call.token))


def _same(call: Call) -> Answer:
    customer, hyphen, _ = call.rest.partition("-")
    return _resolved(members(call.token, customer)) if customer and hyphen else INVALID


def _without(*names: str) -> Callable[[Call], Answer]:
    def rule(call: Call) -> Answer:
        found = members(call.token, customer=call.token)
        return _resolved({name: found[name] for name in found if name not in names})

    return rule


def _at_first(refusal: Answer) -> Callable[[Call], Answer]:
    def rule(call: Call) -> Answer:
        times = _NUMBER.match(call.rest)
        if times is None:
            return INVALID
        return refusal if call.nth <= int(times[1]) else _ok(call)

    return rule


def _slow(call: Call) -> Answer:
    delay_ms = _NUMBER.match(call.rest)
    if delay_ms is None:
        return INVALID
    return replace(_ok(call), delay_s=int(delay_ms[1]) / _MS_PER_S)


def _seller(call: Call) -> Answer:
    # Not cut at a hyphen: an access key may contain one.
    return _ok(call) if call.rest.startswith(f"{call.access_key}-") else INVALID


def _always(same: Answer) -> Callable[[Call], Answer]:
    return lambda _: same


_RULES: Final[dict[str, Callable[[Call], Answer]]] = {
    "ok": _ok,
    "same": _same,
    "new": _without("CustomerIdentifier"),
    "old": _without("LicenseArn", "Metadata"),
    "invalid": _always(INVALID),
    "expired": _always(EXPIRED),
    "throttle": _at_first(THROTTLED),
    "fail": _at_first(INTERNAL),
    "slow": _slow,
    "hang": _always(_HANGS),
    "garbage": _always(GARBAGE),
    "empty": _always(EMPTY),
    "denied": _always(DENIED),
    "seller": _seller,
}
