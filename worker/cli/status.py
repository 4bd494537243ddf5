"""`status`: the state of the fleet at a glance."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.adapters.postgres.rate.status import fleet_status as status_of
from worker.app import fleet
from worker.app.status import gather
from worker.cli import capacity_lines, fleet_lines
from worker.cli.database import ask
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE
from worker.cli.options import ConfigOption, JsonOption
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from worker.app.status import Status
    from worker.settings import Settings

_CLEAR: Final = "\x1b[H\x1b[2J"
_LABEL: Final = 14
_SCHEMA: Final = "schema"
_NOT_FOUND: Final = "NOT_FOUND"
_DECLARE: Final = (
    "queues are missing: run `resolution-worker topology declare` with the workers' "
    "WORKER_RETRY__DELAYS"
)


def status(
    config: ConfigOption = None,
    *,
    capacity: Annotated[
        bool,
        typer.Option(
            "--capacity",
            help="Show instead for how many replicas there is work, and what binds: the quota, a "
            "ceiling, WORKER_POOL__CONCURRENCY, or nothing. Asks the database alone.",
        ),
    ] = False,
    json: JsonOption = False,
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.5, max=3600, metavar="SECONDS", help="Repeat every so many seconds, until ^C."
        ),
    ] = None,
) -> None:
    """Shows queues, replicas, rate, breaker, dead letters and recent outcomes at a glance.

    Asks the broker and the database, from any machine, and the worker of this one, if one answers
    at WORKER_HTTP__HOST and WORKER_HTTP__PORT. Rate, shares, pause, breaker, what is unacked and
    the oldest message in hand are those of all replicas together, as they tell the database each
    second. Parts that can't be reached are named, and the rest is shown.

    Exits with 69 if a part can't be reached or the schema is too old, else 1 if a queue is or went
    missing, replicas are live but none consumes, messages wait and no replica is live, or the
    broker has lost its majority; else 0.
    """
    settings = settings_of(config)
    once = partial(_capacity if capacity else _once, settings, json=json)
    if watch is None:
        raise typer.Exit(once())
    raise typer.Exit(_again_and_again(once, watch, clear=not json))


def _capacity(settings: Settings, *, json: bool) -> int:
    fleet_status = ask(settings, lambda session: status_of(session.fetch, DEFAULT_SELLER))
    found = fleet.capacity(fleet_status)
    if json:
        print_json(found)
        return 0
    rate = fleet.rate(fleet_status, settings.rate.ceiling)
    shared = fleet_lines.shared(rate, live=bool(fleet_status.members))
    words = f"{shared}  ({fleet_lines.ceiling(rate)})"
    for line in capacity_lines.lines(found, words, fleet_lines.paused(fleet_status.pause)):
        typer.echo(line)
    return 0


def _once(settings: Settings, *, json: bool) -> int:
    found = asyncio.run(gather(settings))
    if json:
        print_json(found)
    else:
        _print_text(found)
    for part, why in found.absent.items():
        typer.echo(f"{part} is {'behind' if part == _SCHEMA else 'away'}: {why}", err=True)
    lost = [depth for depth in found.queues or () if depth.ready is None]
    if any(depth.fault.startswith(_NOT_FOUND) for depth in lost):
        typer.echo(_DECLARE, err=True)
    for fault in found.faults:
        typer.echo(fault, err=True)
    if found.absent:
        return UNAVAILABLE
    return PARTLY_FAILED if lost or found.faults else 0


def _again_and_again(once: Callable[[], int], seconds: float, *, clear: bool) -> int:
    code = 0
    try:
        while True:
            if clear and sys.stdout.isatty():
                typer.echo(_CLEAR, nl=False)
            code = once()
            time.sleep(seconds)
    except KeyboardInterrupt:
        return code


def _print_text(found: Status) -> None:
    for line in _lines(found):
        typer.echo(line)


def _lines(found: Status) -> Iterator[str]:
    yield from _queue_lines(found)
    yield _line("replicas", *_replicas(found))
    yield from _fleet_lines(found)
    yield _line("oldest", *_oldest(found))
    yield _line("dead letters", *_letters(found))
    yield _line("outcomes", _counts(found.outcomes), f"last {found.outcomes_seconds / 60:g} min")


def _line(label: str, value: object, note: str = "") -> str:
    known = "unknown" if value is None else str(value)
    return f"{label.ljust(_LABEL)}{known}{f'  ({note})' if note else ''}"


def _queue_lines(found: Status) -> Iterator[str]:
    if found.queues is None:
        yield _line("queues", None)
        return
    width = max(len(depth.queue) for depth in found.queues)
    yield f"{'queue'.ljust(width)}  {'ready':>9}  {'unacked':>9}  consumers"
    for depth in found.queues:
        if depth.ready is None:
            yield f"{depth.queue.ljust(width)}  unknown: {depth.fault}"
        else:
            unacked = "-" if depth.unacked is None else depth.unacked
            yield (
                f"{depth.queue.ljust(width)}  {depth.ready:>9}  {unacked:>9}  {depth.consumers:>9}"
            )


def _fleet_lines(found: Status) -> Iterator[str]:
    members, breaker = found.shares, found.breaker
    if members is None or breaker is None:
        yield _line("rate", None, fleet_lines.ceiling(found.rate))
        yield _line("paused", None)
        yield _line("breaker", *_own_breaker(found))
        return
    rate = fleet_lines.shared(found.rate, live=bool(members))
    yield _line("rate", rate, fleet_lines.ceiling(found.rate))
    yield _line("paused", fleet_lines.paused(found.pause))
    state, *reasons = fleet_lines.breaker(breaker)
    yield _line("breaker", state)
    reasons += fleet_lines.oddities(members)
    yield from (f"{'':<{_LABEL}}{each}" for each in reasons)


def _replicas(found: Status) -> tuple[str | None, str]:
    live = None if found.shares is None else fleet_lines.replicas(found.shares)
    some = found.consumers
    return live, "" if some is None else f"{some} consume resolution.tokens"


def _own_breaker(found: Status) -> tuple[str | None, str]:
    """Return the state that the worker of this machine reports, if the database has none."""
    if found.worker is None:
        return None, "no worker answers at WORKER_HTTP__HOST and WORKER_HTTP__PORT"
    return found.worker.breaker, f"the worker at {found.worker.address}"


def _oldest(found: Status) -> tuple[str | None, str]:
    if found.oldest_seconds is not None:
        words = _ages(found.oldest_seconds) or "none in hand"
        return words, "since it was received, in the hands of all replicas"
    if found.worker is None:
        return None, "no worker answers at WORKER_HTTP__HOST and WORKER_HTTP__PORT"
    words = _ages(found.worker.oldest_unsettled_seconds)
    return words or None, f"held by the worker at {found.worker.address}"


def _ages(ages: Mapping[str, float]) -> str:
    return ", ".join(f"{lane} {seconds:.1f} s" for lane, seconds in ages.items())


def _letters(found: Status) -> tuple[str | None, str]:
    letters = found.dead_letters
    if letters is None:
        return None, ""
    expiry = letters.first_expiry
    until = f", the first until {expiry:%Y-%m-%d %H:%M:%S} UTC" if expiry else ""
    return _counts(letters.open), f"{letters.redeemable} redeemable{until}"


def _counts(counts: Mapping[str, int] | None) -> str | None:
    if counts is None:
        return None
    some = {name: count for name, count in counts.items() if count}
    return ", ".join(f"{name} {count}" for name, count in some.items()) or "none"
