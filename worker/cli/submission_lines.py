"""A file of tokens or submissions, read line by line in constant memory."""

from __future__ import annotations

import asyncio
import os
import uuid
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from worker.core.token.outgoing import Outgoing
from worker.core.token.token_rules import unfit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.records import Lane

PUBLIC: Final = "resolution"
MAX_LINE_BYTES: Final = 1024 * 1024
_READ_BYTES: Final = 64 * 1024

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_TEXT_OR_NULL: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)


class BadLine(ValueError):
    """A line can't be published. The message gives the reason, without any of the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank: its number from 1, and its message or what is wrong."""

    number: int
    message: Outgoing | BadLine


def read_line(line: bytes, lane: Lane, now: datetime) -> Outgoing:
    """Return the message that a line asks for.

    Of a submission only what this needs is checked, so that everything else reaches the worker
    and gets its answer there. The members that stay keep their exact spelling.

    Args:
        line: Without its end. One that starts with `{` is a submission, any other one a token.
        lane: The lane to publish it into.
        now: AMQP timestamp, and `received_at` of a bare token (UTC).

    Raises:
        BadLine: It can't be published.
    """
    line = line.removeprefix(BOM_UTF8)
    members = _submission(line) if line.startswith(b"{") else _token(line, now)
    message_id = _property(members, "message_id") or uuid.uuid4().hex
    correlation_id = _property(members, "correlation_id")
    reply_to = _property(members, "reply_to")
    body = msgspec.json.encode(members)
    return Outgoing(
        exchange=PUBLIC,
        routing_key=lane.value,
        body=body,
        message_id=message_id,
        correlation_id=correlation_id,
        reply_to=reply_to,
        timestamp=now,
        mandatory=True,
    )


def _submission(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        line.decode()
        members = _MEMBERS.decode(line)
        token = members.get("registration_token")
        if token is None:
            raise BadLine("the submission has no registration_token")
        _TEXT.decode(token)
    except msgspec.ValidationError:
        raise BadLine("the registration_token is not a text") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadLine("it starts with { but is not a JSON object") from None
    return members


def _token(line: bytes, now: datetime) -> dict[str, msgspec.Raw]:
    if line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or line.count(0) * 3 > len(line):
        raise BadLine("it is UTF-16; save the file as UTF-8")
    try:
        token = line.decode()
    except UnicodeDecodeError:
        raise BadLine("it is not UTF-8") from None
    if why := unfit(token):
        raise BadLine(why.reason)
    received_at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"version": 1, "registration_token": token, "received_at": received_at}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}


def _property(members: dict[str, msgspec.Raw], name: str) -> str | None:
    raw = members.pop(name, None)
    if raw is None:
        return None
    try:
        return _TEXT_OR_NULL.decode(raw)
    except msgspec.DecodeError:
        raise BadLine(f"the {name} is neither text nor null") from None


class Lines:
    """The lines of a file, pipe or terminal, as they come.

    Attributes:
        bytes_read: How much was read.
        next_number: Number of the first line that was not returned.
    """

    def __init__(self, descriptor: int, lane: Lane, most: int) -> None:
        self._descriptor = descriptor
        self._lane = lane
        self._most = most
        self._ready: deque[bytes] = deque()
        self._rest = b""
        self._ended = False
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self.bytes_read = 0
        self.next_number = 1

    def stop(self) -> None:
        """Return no more lines."""
        self._ended = True
        self._ready.clear()
        self._wake.set()

    async def batch(self) -> list[Line]:
        """Return the next lines that are not blank, as many as are there; none at the end."""
        async with self._turn:
            while True:
                while not self._ready and not self._ended:
                    await self._read()
                if not self._ready:
                    return []
                if lines := list(self._take()):
                    return lines

    def _take(self) -> Iterator[Line]:
        now = datetime.now(UTC)
        for _ in range(min(self._most, len(self._ready))):
            number, line = self.next_number, self._ready.popleft()
            self.next_number += 1
            if line.removeprefix(BOM_UTF8).strip():
                yield Line(number, self._message(line, now))

    def _message(self, line: bytes, now: datetime) -> Outgoing | BadLine:
        if len(line) > MAX_LINE_BYTES:
            return BadLine(f"it has more than {MAX_LINE_BYTES} bytes")
        try:
            return read_line(line, self._lane, now)
        except BadLine as bad:
            return bad

    async def _read(self) -> None:
        await self._readable()
        if self._ended:
            return
        data = os.read(self._descriptor, _READ_BYTES)
        self.bytes_read += len(data)
        *whole, rest = (self._rest + data).split(b"\n")
        self._ready.extend(line.removesuffix(b"\r") for line in whole)
        # Of a line that is too long one byte more than the limit is kept, to recognise it.
        self._rest = rest[: MAX_LINE_BYTES + 1]
        if not data:
            self._ended = True
            if self._rest:
                self._ready.append(self._rest.removesuffix(b"\r"))

    async def _readable(self) -> None:
        """Wait for input without reading, so that a signal gets through meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(self._descriptor, self._wake.set)
        except PermissionError:
            return  # a regular file: always readable
        try:
            await self._wake.wait()
        finally:
            loop.remove_reader(self._descriptor)
            if not self._ended:
                self._wake.clear()
