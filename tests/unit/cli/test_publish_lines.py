"""Lines of tokens and submissions: what is made of each, and how they are read."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.submission_lines import MAX_LINE_BYTES, BadLine, Line, Lines, read_line
from worker.core.records import Lane
from worker.core.token.token_rules import MAX_TOKEN_CHARS

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 3, 28, 0, 250_000, tzinfo=UTC)


def test_a_token_becomes_a_submission() -> None:
    """A bare token gets a version, the current time and an id of its own."""
    first = read_line(b"ok-1", Lane.LIVE, NOW)
    second = read_line(b"ok-1", Lane.LIVE, NOW)
    assert json.loads(first.body) == {
        "version": 1,
        "registration_token": "ok-1",
        "received_at": "2026-11-22T03:28:00.250Z",
    }
    assert (first.exchange, first.routing_key, first.mandatory) == ("resolution", "token", True)
    assert first.timestamp == NOW
    assert first.message_id != second.message_id


def test_a_submission_keeps_its_members_to_the_letter() -> None:
    """Properties leave the body; every other member stays as it was spelt."""
    line = (
        b'{"message_id": "m", "correlation_id": "c", "reply_to": "resolution.reply.x",'
        b' "registration_token": "ok-1", "metadata": {"n": 1.50, "big": 123456789012345678901}}'
    )
    message = read_line(line, Lane.BACKLOG, NOW)
    assert (message.message_id, message.correlation_id) == ("m", "c")
    assert (message.reply_to, message.routing_key) == ("resolution.reply.x", "backlog")
    assert b'{"n": 1.50, "big": 123456789012345678901}' in message.body
    assert set(json.loads(message.body)) == {"registration_token", "metadata"}


def test_null_properties_count_as_absent() -> None:
    """A null id is replaced, other null properties are left out."""
    line = b'{"registration_token": "t", "message_id": null, "correlation_id": null}'
    message = read_line(line, Lane.LIVE, NOW)
    assert len(message.message_id) == 32
    assert message.correlation_id is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a b", "white space"),
        (b"a\tb", "white space"),
        (b" ab", "white space"),
        (b"a\x00b", "control character"),
        ("ok-1".encode("utf-16-le"), "UTF-16"),
        ("ok-1".encode("utf-16"), "UTF-16"),
        (b'"ok-1"', "quotation marks"),
        (b"x-amzn-marketplace-token=ok-1", "form field's name"),
        ("ok\u200b-1".encode(), "invisible character"),
        (b"a%2Bb", "%XX"),
        (b"a\xffb", "UTF-8"),
        (b"{", "not a JSON object"),
        (b'{"registration_token": "t"} x', "not a JSON object"),
        (b'{"registration_token": "\xff"}', "not a JSON object"),
        (b'{"a": ' + b"[" * 100_000, "not a JSON object"),
        (b"{}", "no registration_token"),
        (b'{"registration_token": 7}', "not a text"),
        (b'{"registration_token": null}', "not a text"),
        (b'{"registration_token": "t", "message_id": 7}', "message_id"),
        (b'{"registration_token": "t", "reply_to": []}', "reply_to"),
    ],
)
def test_bad_lines_are_refused_with_a_reason(line: bytes, reason: str) -> None:
    """A line that can't be published is refused with its reason."""
    with pytest.raises(BadLine, match=reason):
        read_line(line, Lane.LIVE, NOW)


def test_the_rest_is_for_the_worker_to_judge() -> None:
    """A submission that is wrong in any other way is published as it is."""
    line = b'{"registration_token": "a%2Bb", "version": 9, "metadata": 1, "seller": "x"}'
    assert json.loads(read_line(line, Lane.LIVE, NOW).body)["version"] == 9


async def all_lines(path: Path, most: int = 50) -> list[Line]:
    """Everything in a file."""
    with path.open("rb", buffering=0) as source:
        lines = Lines(source.fileno(), Lane.LIVE, most)
        found = []
        while batch := await lines.batch():
            assert len(batch) <= most
            found += batch
    return found


def tokens(lines: list[Line]) -> list[tuple[int, str]]:
    """The number and the token of each line, or the reason against it."""
    return [
        (
            line.number,
            str(line.message)
            if isinstance(line.message, BadLine)
            else json.loads(line.message.body)["registration_token"],
        )
        for line in lines
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\n  \n\t\n", []),
        (b"a\nb\n", [(1, "a"), (2, "b")]),
        (b"a\r\n\r\nb", [(1, "a"), (3, "b")]),
        (b"\xef\xbb\xbfa\n", [(1, "a")]),
    ],
)
async def test_line_ends_blank_lines_and_marks(
    tmp_path: Path, content: bytes, expected: list[tuple[int, str]]
) -> None:
    """Line ends of any system are taken off, blank lines skipped but counted."""
    file = tmp_path / "tokens"
    file.write_bytes(content)
    assert tokens(await all_lines(file)) == expected


async def test_an_endless_line_takes_no_endless_memory(tmp_path: Path) -> None:
    """A line that is far too long is refused by number, and the next one is read."""
    file = tmp_path / "tokens"
    file.write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\nnext\n")
    first, second = tokens(await all_lines(file))
    assert first == (1, f"it has more than {MAX_LINE_BYTES} bytes")
    assert second == (2, "next")


def fill(descriptor: int, content: bytes) -> None:
    """Write all of it, however little a pipe holds, and close."""
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(content)


TOO_LONG = f"the registration_token has more than {MAX_TOKEN_CHARS} characters"


@given(st.lists(st.sampled_from([b"", b"t", b"x" * 70_000, b"\r"]), max_size=12))
async def test_reading_in_pieces_is_reading_at_once(pieces: list[bytes]) -> None:
    """However a pipe cuts its content up, the lines are those between the line ends."""
    content = b"\n".join(pieces)
    expected = [
        (number, TOO_LONG if len(line) > MAX_TOKEN_CHARS else line.removesuffix(b"\r").decode())
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.strip()
    ]
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=fill, args=[write_end, content])
    writer.start()
    lines = Lines(read_end, Lane.LIVE, 3)
    found: list[Line] = []
    while batch := await lines.batch():
        found += batch
    writer.join()
    os.close(read_end)
    assert tokens(found) == expected


async def test_stopping_wakes_a_reader_that_waits() -> None:
    """Whoever waits for a line that does not come is told to stop, and the next number is kept."""
    read_end, write_end = os.pipe()
    try:
        lines = Lines(read_end, Lane.LIVE, 50)
        os.write(write_end, b"a\nb\n")
        assert len(await lines.batch()) == 2
        waiting = asyncio.create_task(lines.batch())
        await asyncio.sleep(0.01)
        lines.stop()
        assert await asyncio.wait_for(waiting, 1) == []
        assert lines.next_number == 3
    finally:
        os.close(read_end)
        os.close(write_end)
