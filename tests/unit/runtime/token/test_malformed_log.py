"""Lines about messages that can't be read: one a minute and kind, however many come."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from tests.fakes.clock import leaping
from tests.fakes.records import NOW
from worker.core.records import Malformed
from worker.runtime.token.malformed_log import MalformedLog


def malformed(code: str, message_id: str) -> Malformed:
    """A note of such a message."""
    return Malformed(code, "r", b"", None, message_id, None, None, None, NOW)


@leaping
async def test_a_line_a_minute_and_kind() -> None:
    """The first of a kind is told at once; what follows is counted, and told with the last's id."""
    notes = MalformedLog()
    with capture_logs() as lines:
        for number in range(1_000):
            notes.note(malformed("NotJson", f"m-{number}"))
        notes.note(malformed("BodyEmpty", "e-1"))
        await asyncio.sleep(61)
    assert [(line["code"], line["messages"], line["message_id"]) for line in lines] == [
        ("NotJson", 1, "m-0"),
        ("BodyEmpty", 1, "e-1"),
        ("NotJson", 999, "m-999"),
    ]


@leaping
async def test_after_a_quiet_minute_the_next_is_told_at_once() -> None:
    """Nothing is kept of a kind that has not come for a minute."""
    notes = MalformedLog()
    with capture_logs() as lines:
        notes.note(malformed("NotJson", "m-1"))
        await asyncio.sleep(300)
        notes.note(malformed("NotJson", "m-2"))
    assert [line["message_id"] for line in lines] == ["m-1", "m-2"]
