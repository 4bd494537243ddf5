"""How calls stand, as each replica tells all callers through the exchange `resolution.state`.

A caller can't know otherwise whether to let a buyer wait: a token is taken whether calls are made
or not. So what is told is for people and programs of the web tier. Why calls are stopped is said in
words of ours, since what AWS or the database said is for operators, who find it at `/readyz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from worker.core import holds
from worker.core.token.wire import Calls, StateBody

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
PERIOD_SECONDS: Final = 1.0
EXPIRY_SECONDS: Final = 3.0
"""After such a silence nobody works; so a message that is older is worth nothing."""

MOST_REASON_CHARS: Final = 200
CONSUMING: Final = "consuming"
"""What holds a token up besides the gate: its message is not taken from the broker."""

_REASONS: Final[Mapping[str, str]] = {
    holds.AWS: "calls to AWS are stopped",
    holds.LEDGER: "the workers' database can't be used",
    CONSUMING: "no messages are taken from the broker",
    holds.FLEET: "this worker makes no calls yet: it is starting",
}
"""In the order of what says most, where calls are stopped for several reasons."""

SHUTTING_DOWN: Final = "this worker is shutting down"


@dataclass(frozen=True, slots=True)
class CallsState:
    """How calls stand, as one replica knows it.

    Attributes:
        calls: Whether calls are made.
        reason: Why they are not, in a sentence for the web tier's team; None while they are.
        rate: Calls a second of all replicas together; 0 if it is not known yet.
        waiting: Live submissions that are not settled: those in the queue, and those in hand.
        oldest_seconds: The age of the oldest in hand; 0 without any.
    """

    calls: Calls
    reason: str | None
    rate: float = 0.0
    waiting: int = 0
    oldest_seconds: float = 0.0


def judge(
    held: Mapping[str, str], paused: str | None, ending: str = ""
) -> tuple[Calls, str | None]:
    """Whether calls are made, and if not, why.

    An operator's pause says more than a fault, which may be the reason for it.

    Args:
        held: What holds calls up: by the names of `holds`, and `CONSUMING`, each with the reason
            that operators are told.
        paused: The reason that an operator has given for a pause; None without one.
        ending: When that ends by itself, to follow the reason; empty if it does not.
    """
    if holds.DRAIN in held:
        return Calls.STOPPED, SHUTTING_DOWN
    if holds.PAUSE in held:
        reason = _short(paused or "", MOST_REASON_CHARS - len(ending))
        return Calls.PAUSED, f"{reason}{ending}".removeprefix(", ") or None
    if not held:
        return Calls.RUNNING, None
    name = next((name for name in _REASONS if name in held), "")
    reason = _REASONS.get(name, "calls are stopped")
    if name == holds.AWS:  # the code alone: AWS's words name accounts and roles
        reason += f" ({held[name].partition(':')[0]})"
    return Calls.STOPPED, _short(reason)


def _short(text: str, most: int = MOST_REASON_CHARS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def body(state: CallsState) -> bytes:
    """The message's body."""
    told = StateBody(
        version=VERSION,
        calls=state.calls,
        reason=state.reason,
        rate=round(state.rate, 2),
        waiting=state.waiting,
        oldest_seconds=round(max(0.0, state.oldest_seconds), 1),
    )
    return _ENCODER.encode(told)


_ENCODER: Final = msgspec.json.Encoder()
