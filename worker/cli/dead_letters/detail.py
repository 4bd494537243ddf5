"""One dead letter, formatted for a person or as JSON."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import typer

from worker.cli.dead_letters.format_values import (
    bold,
    columns,
    counted,
    instant,
    left,
    printable,
    wrapped,
)
from worker.cli.dead_letters.list import members
from worker.core.dead_letters.remedies import remedy
from worker.core.dead_letters.views import LetterEvent
from worker.core.records import LetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.dead_letters.views import DeadLetter, DeadLetterDetail

_LABEL: Final = 13
_NOT_REDEEMABLE: Final = {
    LetterReason.EXPIRED: "no: the token has expired",
    LetterReason.MALFORMED: "no: the message can't be read",
}


def print_json(found: DeadLetterDetail, opened: bytes | None) -> None:
    """Print everything as one JSON object."""
    letter = found.letter
    shown = members(letter) | {
        "body_sha256": found.body_sha256.hex(),
        "body_bytes": found.body_bytes,
        "correlation_id": found.correlation_id,
        "lane": found.lane,
        "metadata": _metadata(found.metadata),
        "seal_key_id": found.seal_key_id,
        "payload_kept": found.is_kept,
        "shredded_at": found.shredded_at,
        "closed_at": found.closed_at if _is_closed(letter) else None,
        "remedy": _remedy(letter),
        "history": list(_history(found)),
        "history_is_cut": found.earlier,
    }
    if opened is not None:
        shown["payload"] = _payload(opened)
    # The standard library's: it writes what is not Unicode, which metadata may hold, as escapes.
    typer.echo(json.dumps(shown, default=_encoded))


def _encoded(value: object) -> Any:
    return orjson.loads(orjson.dumps(value))


def _metadata(text: str | None) -> Any:
    """The object; its text where it can't be read."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parts(opened: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the properties and the body of an opened payload; see `incoming.envelope`."""
    head, _, body = opened.partition(b"\n")
    properties: dict[str, Any] = orjson.loads(head)
    return properties, body


def _payload(opened: bytes) -> dict[str, Any]:
    properties, body = _parts(opened)
    try:
        return {"properties": properties, "body": body.decode()}
    except UnicodeDecodeError:
        return {"properties": properties, "body_base64": base64.b64encode(body).decode()}


def print_text(found: DeadLetterDetail, opened: bytes | None) -> None:
    """Print everything in words."""
    for line in _lines(found, datetime.now(UTC)):
        typer.echo(line)
    if opened is not None:
        for line in _payload_lines(opened):
            typer.echo(line)


def _lines(found: DeadLetterDetail, now: datetime) -> Iterator[str]:
    letter = found.letter
    yield bold(f"dead letter {letter.id}  {letter.state}")
    for label, value in _facts(found, now):
        yield from wrapped(value, f"  {label.ljust(_LABEL)}", " " * (_LABEL + 2))
    yield ""
    yield bold("history (UTC)")
    if found.earlier:
        yield "  …"
    for event in events(found):
        yield from wrapped(f"{instant(event.at)}  {event_words(event)}", "  ", "    ")


def _facts(found: DeadLetterDetail, now: datetime) -> Iterator[tuple[str, str]]:
    letter = found.letter
    yield "reason", f"{letter.reason}  {printable(letter.error_code)}"
    yield "message", printable(letter.error_message) or "(none)"
    yield "remedy", _remedy(letter)
    yield "redeemable", _redeemable(letter, now)
    yield "group", letter.group
    yield "message id", printable(letter.message_id)
    yield "correlation", "-" if found.correlation_id is None else printable(found.correlation_id)
    yield "fingerprint", letter.fingerprint or "- (no token was read)"
    yield "support code", letter.support_code or "-"
    yield "seller, lane", f"{printable(letter.seller)}, {found.lane}"
    yield "received", f"{instant(letter.received_at)} UTC"
    yield "attempts", _attempts(letter)
    yield "metadata", "-" if found.metadata is None else printable(found.metadata)
    yield "payload", _kept(found)


def _remedy(letter: DeadLetter) -> str:
    return remedy(letter.reason, letter.error_code, others_resolved=letter.others_resolved)


def _redeemable(letter: DeadLetter, now: datetime) -> str:
    until = letter.redeemable_until
    if until is None:
        return _NOT_REDEEMABLE.get(LetterReason(letter.reason), "no")
    if until <= now:
        return f"no: the token expired at {instant(until)} UTC"
    return f"for {left(until, now)}, until {instant(until)} UTC"


def _attempts(letter: DeadLetter) -> str:
    failed, replayed = counted(letter.occurrences, "time"), counted(letter.replays, "time")
    return f"{letter.attempts}; failed {failed}, replayed {replayed}"


def _kept(found: DeadLetterDetail) -> str:
    if found.is_kept:
        return f"{found.body_bytes} bytes, sealed to the key {found.seal_key_id}"
    since = "" if found.shredded_at is None else f" at {instant(found.shredded_at)} UTC"
    return f"shredded{since}"


def _is_closed(letter: DeadLetter) -> bool:
    return letter.state not in {"open", "replaying"}


def events(found: DeadLetterDetail) -> tuple[LetterEvent, ...]:
    """Return the history; of a dead letter of an older version at least its latest failure."""
    if found.earlier or any(event.kind == "failed" for event in found.history):
        return found.history
    letter = found.letter
    failure = LetterEvent(
        letter.failed_at, "failed", letter.error_code, letter.error_message, letter.attempts
    )
    return tuple(sorted((failure, *found.history), key=lambda event: event.at))


def _history(found: DeadLetterDetail) -> Iterator[dict[str, Any]]:
    for event in events(found):
        yield {
            "at": event.at,
            "kind": event.kind,
            "error_code": event.error_code,
            "error_message": event.error_message,
            "attempts": event.attempts,
            "actor": event.actor,
            "reason": event.reason,
            "replay": event.replay_id,
        }


def event_words(event: LetterEvent) -> str:
    """`replayed by ann (replay 3): keys mended`."""
    words = event.kind
    if event.actor is not None:
        words += f" by {printable(event.actor)}"
    if event.replay_id is not None:
        words += f" (replay {event.replay_id})"
    details = (event.error_code, event.error_message, event.reason)
    words += "".join(f": {printable(each)}" for each in details if each)
    return words if event.attempts is None else f"{words} ({counted(event.attempts, 'attempt')})"


def _payload_lines(opened: bytes) -> Iterator[str]:
    properties, body = _parts(opened)
    text = body.decode(errors="backslashreplace")
    yield ""
    yield bold("payload (the token in it is a secret)")
    for name, value in properties.items():
        yield from wrapped(f"{name}: {printable(str(value))}", "  ", "    ")
    # As it is into a pipe; on a terminal its control characters would take effect.
    yield text if columns() is None else printable(text)
