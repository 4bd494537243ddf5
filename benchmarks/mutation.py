"""Messages made wrong by chance: damaged bytes, odd values, odd properties."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.core.token.incoming import Incoming

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# As they stand in JSON, some of which JSON itself does not allow.
_VALUES: Final = (
    *("null", "true", "false", "0", "-1", "1", "2", "1.0", "1e400", "-0.0", "NaN", "Infinity"),
    *("1" * 400, '""', '" "', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"%41"', '"a\\tb"'),
    *("[]", "{}", "[[[[[]]]]]", '{"a":{"b":{"c":null}}}', '"' + "x" * 8_193 + '"'),
    *('"' + "y" * 5_000 + '"', '{"m":"' + "z" * 4_100 + '"}', "[" * 600 + "]" * 600),
    *('"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00+14:00"', '"2026-02-30T00:00:00Z"'),
    *('"2026-11-22t03:28:00z"', '"2026-11-22"', '"default"', '"free-trial"', "undefined"),
)
_MEMBERS: Final = (
    *("version", "registration_token", "received_at", "offer_type", "seller", "progress"),
    *("metadata", "unknown", ""),
)
_PIECES: Final = (
    *(b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b'"', b"\\"),
    *(b"\\u", b"[", b"]", b",", b":", b"\n", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b"/*", b"%00"),
)
_TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "resolution.reply.",
        "resolution.reply.nobody",
        "amq.rabbitmq.reply-to.g2.x",
    ),
    *("resolution.tokens", "x" * 255, "\u202e", "\U0001f600" * 60, "resolution.reply.*.#", "%s{0}"),
)
_HEADERS: Final = (
    *("x-resolution-attempts", "x-resolution-returns", "x-resolution-received-at", "x-death"),
    *("x-resolution-known-since", "x-resolution-replay", "x-delivery-count", "x-first-death-queue"),
)
_HEADER_VALUES: Final[tuple[Any, ...]] = (
    *(
        0,
        1,
        -1,
        3,
        99,
        2**31,
        2**62,
        1.5,
        True,
        None,
        "",
        "3",
        "x" * 300,
        bytearray(b"\xff\x00"),
        [],
        {},
    ),
    *([1, [2, [3]]], {"count": 5, "queue": "resolution.tokens"}, _EPOCH),
)


class Mutation:
    """Makes messages, the same ones for the same chance.

    Args:
        chance: Draws that belong to it alone.
        sendable: Whether a broker must be able to carry what is made.
    """

    def __init__(self, chance: random.Random, *, sendable: bool = False) -> None:
        self._chance = chance
        self._sendable = sendable
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            *(
                self._flipped,
                self._cut,
                self._grown,
                self._repeated,
                self._replaced,
                self._replaced,
            ),
            *(self._noise, self._untouched, self._replaced_twice),
        )

    def message(self, number: int) -> Incoming:
        """One message."""
        chance = self._chance
        body = chance.choice(self._ways)(self._sound(number))
        if chance.random() < 0.1:
            body = chance.choice(self._ways)(body)
        return Incoming(
            body=body,
            message_id=self._message_id(number),
            correlation_id=self._text(number) if chance.random() < 0.3 else None,
            reply_to=self._text(number) if chance.random() < 0.3 else None,
            timestamp=self._timestamp() if chance.random() < 0.3 else None,
            headers=self._headers() if chance.random() < 0.3 else {},
            internal=not self._sendable and chance.random() < 0.3,
            redelivered=not self._sendable and chance.random() < 0.1,
        )

    def _sound(self, number: int) -> bytes:
        members: dict[str, Any] = {
            "version": 1,
            "registration_token": f"ok-{number}-{self._chance.getrandbits(64):x}",
        }
        if number % 2:
            members |= {"received_at": "2026-11-22T03:28:00Z", "offer_type": "free-trial"}
            members |= {"seller": "default", "progress": False, "metadata": {"session": "é\u2028"}}
        return json.dumps(members, ensure_ascii=number % 3 == 0).encode()

    # --- bodies ---

    def _untouched(self, body: bytes) -> bytes:
        return body

    def _flipped(self, body: bytes) -> bytes:
        damaged = bytearray(body)
        for _ in range(self._chance.randrange(1, 5)):
            if damaged:
                damaged[self._chance.randrange(len(damaged))] = self._chance.randrange(256)
        return bytes(damaged)

    def _cut(self, body: bytes) -> bytes:
        start = self._chance.randrange(len(body) + 1)
        return body[:start] + body[start + self._chance.randrange(len(body) + 1) :]

    def _grown(self, body: bytes) -> bytes:
        place = self._chance.randrange(len(body) + 1)
        return body[:place] + self._chance.choice(_PIECES) + body[place:]

    def _repeated(self, body: bytes) -> bytes:
        start = self._chance.randrange(len(body) + 1)
        times = 2 if self._chance.random() < 0.999 else 2_000
        return body[:start] + body[start : start + 40] * times + body[start:]

    def _noise(self, _: bytes) -> bytes:
        return self._chance.randbytes(self._chance.randrange(200))

    def _replaced(self, body: bytes) -> bytes:
        """One member more, which stands after the one of its name, or alone."""
        name, value = self._chance.choice(_MEMBERS), self._chance.choice(_VALUES)
        member = f"{json.dumps(name)}:{value}}}".encode()
        return b"{" + member if self._chance.random() < 0.1 else body[:-1] + b"," + member

    def _replaced_twice(self, body: bytes) -> bytes:
        return self._replaced(self._replaced(body))

    # --- properties ---

    def _message_id(self, number: int) -> str | None:
        odd = self._text(number) if self._chance.random() < 0.15 else f"f-{number}"
        # A message that has none would be given one by the library that sends it.
        return odd or (f"f-{number}" if self._sendable else None)

    def _text(self, number: int) -> str | None:
        chance = self._chance.random()
        if chance < 0.2:
            return None
        if chance < 0.4:
            return f"resolution.reply.{number}"
        if chance < 0.5:
            # What is no UTF-8 comes with replacements: AMQP carries any bytes.
            return self._chance.randbytes(self._chance.randrange(80)).decode(errors="replace")
        return self._chance.choice(_TEXTS)

    def _timestamp(self) -> datetime:
        longest = 250_000_000_000 if not self._sendable else 4_000_000_000
        return _EPOCH + timedelta(seconds=self._chance.randrange(longest))

    def _headers(self) -> dict[str, Any]:
        chosen = self._chance.sample(_HEADERS, self._chance.randrange(1, 4))
        return {name: self._chance.choice(_HEADER_VALUES) for name in chosen}
