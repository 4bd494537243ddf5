"""The page of all log events, which are found in the code and explained here.

`python -m harness.log_events_page` writes it, or raises `KeyError` for an event without an
explanation and for an explanation without an event.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.runtime.token.oddity_log import TOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "log-events.md"
_LOGGERS: Final = {"log", "_log"}
_METHODS: Final = {"debug", "info", "warning", "error", "exception"}
_NOT_OF_RUN: Final = "resolve_customer"

_HEAD: Final = """\
# Log events

What `resolution-worker run` logs, one line an event: `timestamp`, `level`, `event`, and these keys.
`reason` says what happened in words, `remedy` what to do about it. Secrets are hidden in every
line. Libraries' own lines have `logger`. `…` stands for keys that differ from line to line.

A warning or error that says one fact again and again (each try of an outage, say) is written five
times at once and then once a minute; of one event, twenty lines at once and then four a minute.
`lines_left_out` counts those like it that were not written before it. Metrics count all.

| event | level | keys | meaning |
| --- | --- | --- | --- |
"""

MEANINGS: Final[Mapping[str, str]] = {
    # the process
    "starting": "the process has begun",
    "http_listening": "`/metrics`, `/healthz` and `/readyz` are served here",
    "aws_endpoint": "where calls go, and which setting or variable says so",
    "aws_region_unknown": "AWS has listed no such region so far: perhaps a typing error",
    "few_descriptors": "the limit of open files is too low for the concurrency",
    "systemd_not_reached": "systemd named a socket for reports, and it takes none",
    "became_ready": "this replica is able to work, and was not for so many seconds",
    "became_unready": "it is not, for faults of these parts; `/readyz` gives the reasons",
    "reloaded": "SIGHUP: these settings are in use from now on",
    "reload_refused": "SIGHUP: the new settings are wrong; the previous ones stay",
    "draining": "a signal asked it to stop; what is in hand is finished within these seconds",
    "stopped": "the process ends in order",
    "stopped_at_once": "a second signal: the process ends without finishing what is in hand",
    "secrets_taken_up": "new values of these files are in use from now on",
    "secrets_kept": "these files can't be used; the last valid values stay in use",
    "secrets_ignored": "files in the secrets directory whose names are not settings",
    # tokens
    "settled": "how many were answered in the last seconds, by status",
    "token_settled": "one answer; only at level `debug`",
    "message_malformed": "messages that can't be read; `code` says why, `message_id` is the last's",
    "reply_to_ignored": "publishers ask for replies at a key that is not answered",
    "reply_unroutable": "nobody's queue was bound when the reply came",
    "expired_in_lane": "the broker took messages out of a lane for their age; they are put back",
    "dropped_from_lane": "a policy drops messages from a lane",
    "answers_refused": "a queue refuses replies or events; how often, and how many were dropped",
    "demotion_began": "more buyers come than the quota lets through: who waits too long gives way",
    "demotion_ended": "that is over; how many gave way",
    "demotion_held": "the queue they are moved to refuses; it is tried again later",
    "given_back": "messages went back: a drain, a refused replica, or held for too long",
    "returned_to_queue": "messages were held for too long and returned to their queue",
    "poison_suspected": "messages may have crashed a process, and are handled in small groups",
    "poison_no_longer_suspected": "that is over",
    # AWS
    "calls_stopped": "AWS refuses us all, or is down: no call is made; `code` is AWS's",
    "calls_still_stopped": "a probe was refused again",
    "calls_resumed": "a probe was accepted: calls go on",
    "calls_paused": "an operator has paused all calls",
    "calls_unpaused": "the pause is over",
    "call_failed_unforeseen": "a call ended in an error that nobody foresaw; a fault of ours",
    "probe_failed_unforeseen": "a probe ended in such an error",
    "credentials_kept": "what gives out the credentials fails; the last ones are used as they last",
    # the database
    "waiting_for_ledger": "nothing is consumed before the database is ready",
    "ledger_unavailable": "a batch could not be committed; it is kept and tried again",
    "ledger_unreadable": "the ledger could not be asked; it is asked again, and no call is made",
    "row_refused": "the database refuses a row for its data; the buyer is answered all the same",
    "outbox_unavailable": "events that wait could not be stored or read",
    "lease_not_renewed": "the share of the rate could not be renewed",
    "lease_not_returned": "the share of the rate could not be given up at the end; it lapses",
    "fleet_not_reached": "it could not be asked whose turn it is to probe AWS",
    "rate_state_replaced": "the stored state of the rate could not be read, and was begun anew",
    "rate_state_restarted": "the stored state of the rate is of another version; begun anew",
    "retention": "rows that retention shredded, archived or deleted",
    "retention_failed": "a round of retention failed; the next tries again",
    # the broker
    "consuming": "messages are consumed from now on",
    "broker_link_down": "a connection to the broker is lost or can't be opened",
    "broker_alarm": "the broker takes no messages: its memory or disk is short",
    "broker_alarm_over": "it takes them again",
    "publish_not_confirmed": "moves were not confirmed; they are tried again",
    "state_not_sent": "the broker takes no reports of state; callers hear silence",
    "queue_not_kept": "a retry queue could not be kept from expiring",
    "messages_may_be_lost": "a queue went missing on the broker, perhaps with messages",
    "metric_not_read": "a metric could not be read at a scrape; a fault of ours",
    # what Python would print itself
    "uncaught_exception": "a fault of ours ended a thread or the process",
    "unraisable_exception": "a fault of ours in a finalizer",
    "loop_fault": "a fault of ours that the event loop has found",
}


@dataclass(slots=True)
class Event:
    """An event as the code logs it: with which levels and keys."""

    levels: set[str] = field(default_factory=set)
    keys: dict[str, None] = field(default_factory=dict)


def events() -> Mapping[str, Event]:
    """All events in the code of `run`, by name."""
    found: defaultdict[str, Event] = defaultdict(Event)
    for call in _calls():
        level = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        for name in _names(call):
            found[name].levels.add("error" if level == "exception" else level)
            found[name].keys |= {key.arg or "…": None for key in call.keywords}
    for name in ("uncaught_exception", "unraisable_exception", "loop_fault"):  # see logs/hooks.py
        found[name].levels.add("critical" if name == "uncaught_exception" else "error")
        found[name].keys["exception"] = None
    return found


def _calls() -> Iterator[ast.Call]:
    for path in sorted((ROOT / "worker").rglob("*.py")):
        if _NOT_OF_RUN in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                    if name in _LOGGERS and method in _METHODS:
                        yield node


def _names(call: ast.Call) -> list[str]:
    match call.args:
        case [ast.Constant(value=str(name))]:
            return [name]
        case _:  # the one that logs by a table
            return [event for event, _ in TOLD.values()]


def text() -> str:
    """The page as its file holds it."""
    found = events()
    if unmatched := found.keys() ^ MEANINGS.keys():
        raise KeyError(f"events without an explanation, or the reverse: {sorted(unmatched)}")
    rows = [_row(name, found[name], meaning) for name, meaning in MEANINGS.items()]
    return _HEAD + "".join(rows)


def _row(name: str, event: Event, meaning: str) -> str:
    keys = ", ".join(f"`{key}`" for key in event.keys)
    return f"| `{name}` | {', '.join(sorted(event.levels))} | {keys} | {meaning} |\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
