"""The support code of a token: what a buyer can read out on the phone.

The specification, for whoever shows one:

1. Take the SHA-256 of the token's UTF-8 bytes, and of it the first 55 bits.
2. Write them, the most significant first, as 11 digits of 5 bits each in Crockford's alphabet
   `0123456789ABCDEFGHJKMNPQRSTVWXYZ`, which leaves out I, L, O and U.
3. Append a check digit, by the Luhn algorithm modulo 32: from right to left, the digits' values are
   doubled and left alone in turn, beginning with doubled; of a doubled value its two digits to base
   32 are added up; the check digit is what is missing of the sum to a multiple of 32. It finds each
   digit that was misread and nearly all neighbours that changed places.
4. Show it in three groups of four: that of the token `ok-1` is `WGR1-1S60-FHYJ`.

Reading it, case, spaces and dashes mean nothing, I and L are 1, O is 0, and U is V.

Of ten million tokens two have the same code with a probability of one in seven hundred; whoever
looks for it is shown both then. It names a row of the ledger, and gives a right to nothing.
"""

from __future__ import annotations

import re
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BITS: Final = 55
_BASE: Final = len(ALPHABET)
_DIGITS: Final = 12
_GROUP: Final = 4
_SKIPPED: Final = re.compile(r"[\s\-\u2010-\u2015\u2212._]+")
_MEANT: Final = str.maketrans("ILOU", "110V")


class NoSupportCode(ValueError):
    """A text is none; the message says why, and does not repeat it."""


def support_code(token_sha256: bytes) -> str:
    """The code of a token, by its SHA-256: `WGR1-1S60-FHYJ`."""
    number = int.from_bytes(token_sha256[:8], "big") >> (64 - BITS)
    values = [number >> shift & (_BASE - 1) for shift in range(BITS - 5, -1, -5)]
    digits = "".join(ALPHABET[value] for value in (*values, _check(values)))
    return "-".join(digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))


def _check(values: list[int]) -> int:
    """The check digit's value."""
    total = 0
    for place, value in enumerate(reversed(values)):
        total += value if place % 2 else sum(divmod(2 * value, _BASE))
    return -total % _BASE


def bounds(text: str) -> tuple[bytes, bytes]:
    """The first and the last SHA-256 that a code can stand for, as a person writes it.

    Raises:
        NoSupportCode: It has another length or alphabet, or its check digit does not fit.
    """
    digits = _SKIPPED.sub("", text).upper().translate(_MEANT)
    if len(digits) != _DIGITS or not set(digits) <= set(ALPHABET):
        raise NoSupportCode("a support code has 12 letters and digits, as in WGR1-1S60-FHYJ")
    values = [ALPHABET.index(digit) for digit in digits]
    if _check(values[:-1]) != values[-1]:
        raise NoSupportCode("one of its letters or digits was misread: have it read out again")
    number = 0
    for value in values[:-1]:
        number = number * _BASE + value
    rest = 256 - BITS
    return (number << rest).to_bytes(32, "big"), ((number + 1 << rest) - 1).to_bytes(32, "big")
