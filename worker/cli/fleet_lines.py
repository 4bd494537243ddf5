"""What the replicas share, in words: for `status` and `rate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from worker.adapters.postgres.fleet_standing import Member
    from worker.app.fleet import Breaker, Rate
    from worker.core.fleet import Pause

_MOST_SHARES = 16
_SOURCES = {
    "replicas": "by the replicas' settings",
    "settings": "by the settings here, for no replica is live",
}


def moment(instant: datetime) -> str:
    """An instant as people read it, in UTC."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def plain(text: str) -> str:
    """Text from outside on one line, without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def shared(rate: Rate, *, live: bool) -> str:
    """The rate of all replicas together."""
    if rate.shared is None:
        return "not yet known"
    if not live:
        return f"{rate.shared:.4g}/s when a replica was last live"
    return f"{rate.shared:.4g}/s shared{', one permit at a time' if rate.singly else ''}"


def ceiling(rate: Rate) -> str:
    """The most that the rate may be, and who says so."""
    bound = "no ceiling" if rate.ceiling is None else f"ceiling {rate.ceiling:g}/s"
    if rate.source != "command":
        return bound if rate.ceiling is None else f"{bound}, {_SOURCES[rate.source]}"
    assert rate.actor is not None
    assert rate.reason is not None
    assert rate.since is not None
    return f"{bound}, set by {given(rate.actor, rate.reason, rate.since)}"


def given(actor: str, reason: str, since: datetime) -> str:
    """Who has said something, when, and why."""
    return f"{plain(actor)}, {moment(since)}: {plain(reason)}"


def paused(pause: Pause | None) -> str:
    """Whether an operator has stopped all calls."""
    return "no" if pause is None else f"by {given(pause.actor, pause.reason, pause.since)}"


def shares(members: Sequence[Member]) -> str:
    """The shares of the live replicas."""
    some = ", ".join(f"{each.share:.3g}/s" for each in members[:_MOST_SHARES])
    more = f" and {len(members) - _MOST_SHARES} more" if len(members) > _MOST_SHARES else ""
    return f"{len(members)} live{': ' if members else ''}{some}{more}"


def breaker(found: Breaker) -> Iterator[str]:
    """Whether AWS refuses us; then, for each identity, why and what to do about it."""
    yield "open" if found.open else "closed"
    if found.open:
        for each in [one for one in found.stopped if one.replicas] or found.stopped:
            yield (
                f"{each.replicas} replicas stopped since {moment(each.since)}, "
                f"{each.probes} probes: {plain(each.code)}: {plain(each.message)}"
            )
            yield f"-> {each.remedy}"


def table(members: Sequence[Member]) -> Iterator[str]:
    """A line for each live replica."""
    if members:
        yield f"{'replica':<32}  {'share/s':>8}  {'need/s':>8}  {'ceiling':>8}  version"
    for each in members:
        need = "all" if math.isinf(each.need) else f"{each.need:.4g}"
        most = "none" if each.ceiling is None else f"{each.ceiling:g}"
        yield (
            f"{plain(each.replica):<32}  {each.share:>8.4g}  {need:>8}  {most:>8}  "
            f"{plain(each.version)}"
        )
