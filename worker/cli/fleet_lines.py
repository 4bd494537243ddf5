"""Formats what the replicas share, for `status` and `rate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from worker.core.clock import TOLD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from worker.adapters.postgres.rate.status import Member
    from worker.app.fleet import Breaker, Rate
    from worker.core.rate.fleet import Pause

_MOST_SHARES = 16
_SOURCES = {
    "replicas": "by the replicas' settings",
    "settings": "by the settings here, as no replica is live",
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
    """Format the most that the rate may be, and who set it."""
    bound = "no ceiling" if rate.ceiling is None else f"ceiling {rate.ceiling:g}/s"
    if rate.source != "command":
        return bound if rate.ceiling is None else f"{bound}, {_SOURCES[rate.source]}"
    assert rate.actor is not None
    assert rate.reason is not None
    assert rate.since is not None
    return f"{bound}, set by {given(rate.actor, rate.reason, rate.since)}"


def given(actor: str, reason: str, since: datetime) -> str:
    """Format who did something, when, and why."""
    return f"{plain(actor)}, {moment(since)}: {plain(reason)}"


def paused(pause: Pause | None) -> str:
    """Whether an operator has stopped all calls."""
    return "no" if pause is None else f"by {pause_given(pause)}"


def pause_given(pause: Pause) -> str:
    """Format who paused calls, when, until when, and why."""
    return f"{plain(pause.actor)}, {moment(pause.since)}{pause.ending}: {plain(pause.reason)}"


def replicas(members: Sequence[Member]) -> str:
    """How many replicas are live, and their shares of the rate."""
    some = ", ".join(f"{each.share:.3g}/s" for each in members[:_MOST_SHARES])
    more = f" and {len(members) - _MOST_SHARES} more" if len(members) > _MOST_SHARES else ""
    return f"{len(members)} live{': ' if members else ''}{some}{more}"


def breaker(found: Breaker) -> Iterator[str]:
    """Format whether AWS refuses us; then, by reason, which replicas and what to do about it."""
    stopped = sum(each.replicas for each in found.stopped)
    if found.alone:
        yield f"open for {stopped} of {found.live} replicas, which take no messages"
    else:
        yield "open" if found.open else "closed"
    for each in found.stopped:
        noun = "replica" if each.replicas == 1 else "replicas"
        which = f" ({', '.join(map(plain, each.names))})" if found.alone else ""
        yield (
            f"{each.replicas} {noun}{which} stopped since {moment(each.since)}, "
            f"{each.probes} probes: {plain(each.code)}: {plain(each.message)}"
        )
        yield f"-> {each.remedy}"


def oddities(members: Sequence[Member]) -> Iterator[str]:
    """Format which replicas have a clock that is off, or handle some messages separately."""
    for each in members:
        if each.skew_seconds is not None and abs(each.skew_seconds) > TOLD_SECONDS:
            yield (
                f"{plain(each.replica)}: its clock is {each.skew_seconds:+.0f} s off the "
                "database's; set it by NTP"
            )
        if each.suspected:
            yield (
                f"{plain(each.replica)}: handles {each.suspected} messages separately, "
                "because a process died while it held them"
            )


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
