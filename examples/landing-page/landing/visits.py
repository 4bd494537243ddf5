"""Which page a browser is shown, decided from what is stored. No input or output, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from landing.records import Customer, Setup

State: TypeAlias = Literal[
    "waiting", "resolved", "other-customer", "returning", "restart", "contact"
]
Calls: TypeAlias = Literal["running", "paused", "stopped"]

LONG_SECONDS: Final = 20.0
"""After so long a buyer is told that it takes longer than usual."""
KEPT_SETUPS: Final = 8
OPEN_SECONDS: Final = 600.0
"""So long after it first signed somebody in a set-up does it again: a page may have been lost."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown.

    Attributes:
        headline: What is so, in a few words.
        detail: What that means, and what to do.
        customer: Whom the set-up is for, once AWS has said so and this browser may know.
        support_code: What the buyer can read out.
    """

    state: State
    headline: str
    detail: str
    support_code: str
    customer: Customer | None = None


def of_token(setups: Sequence[Setup], number: int) -> list[Setup]:
    """This set-up and the others in which the same browser brought the same token, oldest first."""
    chosen = next((each for each in setups if each.number == number), None)
    return [each for each in setups if chosen and each.token_sha256 == chosen.token_sha256]


def surplus(numbers: Iterable[int], mine: Sequence[Setup], same: Sequence[Setup]) -> list[int]:
    """Those numbers of set-ups whose cookies a browser need not keep, or it would fill with them.

    It keeps the newest, and of the token that is shown now the oldest: one of them was the first.

    Args:
        numbers: Of all cookies that it has.
        mine: Its set-ups, the oldest first.
        same: Those of the token that is shown now, the oldest first.
    """
    kept = {each.number for each in (*same[:KEPT_SETUPS], *mine[-KEPT_SETUPS:])}
    return [each for each in numbers if each not in kept]


def page_of(
    same: Sequence[Setup], calls: Calls | None, now: float, signed_in: Customer | None
) -> Page:
    """The page for all the set-ups of one browser and one token.

    Args:
        same: The oldest first; at least one.
        calls: What the workers do; None if that is not known.
        now: In seconds since 1970.
        signed_in: Whose session this browser has.
    """
    answers = [each.answer for each in same if each.answer]
    customer = next((each.customer for each in answers if each.customer), None)
    # Whoever submitted a token first has an answer that is not repeated.
    first = any(not each.repeated for each in answers)
    used = any(each.used_at is not None and now - each.used_at > OPEN_SECONDS for each in same)
    if customer and first:
        state = _of_customer(customer, signed_in, used=used)
    elif len(answers) < len(same):
        return _waiting(same[0], calls, now)
    else:
        state = _BY_OUTCOME[answers[-1].outcome]
    words = _WORDS[state]
    return Page(state, *words, same[-1].support_code, customer if first else None)


def _of_customer(customer: Customer, signed_in: Customer | None, *, used: bool) -> State:
    if signed_in is None:
        return "returning" if used else "resolved"
    return "resolved" if signed_in.agreement_key == customer.agreement_key else "other-customer"


def _waiting(setup: Setup, calls: Calls | None, now: float) -> Page:
    words = _LONG if now - setup.at > LONG_SECONDS else _SOON
    words = _HELD.get(calls, words)
    return Page("waiting", *words, setup.support_code)


_LATER: Final = (
    "Your purchase is safe. This page goes on by itself; you can also close it and come back to it"
    " later in this browser."
)
_SOON: Final = (
    "Confirming your purchase",
    "We are asking AWS Marketplace about it. This page goes on by itself, usually in seconds.",
)
_LONG: Final = ("This takes longer than usual", _LATER)
_HELD: Final[dict[str | None, tuple[str, str]]] = {
    "paused": (
        "New accounts are on hold for a while",
        f"We are working on our service, and will go on with yours as soon as we can. {_LATER}",
    ),
    "stopped": (
        "Something is holding us up",
        f"We can't confirm purchases with AWS Marketplace at the moment, and keep trying. {_LATER}",
    ),
}
_BY_OUTCOME: Final[dict[str, State]] = {
    "resolved": "returning",
    "rejected": "restart",
    "failed": "contact",
}
_WORDS: Final[dict[State, tuple[str, str]]] = {
    "resolved": (
        "Your purchase is confirmed",
        "Please check that this is yours, and go on to create your account.",
    ),
    "other-customer": (
        "Another account is signed in here",
        "Log out to go on with this purchase. Stay signed in if it is not yours.",
    ),
    "returning": (
        "Please log in",
        "This set-up was opened before, so it can't be opened again without a log-in.",
    ),
    "restart": (
        "Please begin again at AWS Marketplace",
        "AWS Marketplace no longer accepts this set-up. It may have been open for too long.",
    ),
    "contact": (
        "We could not finish your set-up",
        "Your purchase is safe. Please contact us and read out this code, so that we can help.",
    ),
}
