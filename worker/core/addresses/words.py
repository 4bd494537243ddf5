"""The words of an address's query: which there are, and what values each takes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
_WHOLE: Final = re.compile("[0-9]{1,9}", re.ASCII)
SECRET_WORDS: Final = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class Word:
    """What a word takes.

    Attributes:
        accepts: The values it takes, as a phrase; empty for a word that can't be used at all.
        takes: Whether it takes a value.
        otherwise: Why it takes no other, and what to write instead.
        blank: Whether an empty value means something; else it counts as not given.
    """

    accepts: str
    takes: Callable[[str], bool]
    otherwise: str = ""
    blank: bool = False


def anything() -> Word:
    """A word that takes any text."""
    return Word("any text", lambda _: True)


def one_of(*values: str, otherwise: str = "") -> Word:
    """A word that takes a few values."""
    return Word(", ".join(values), lambda value: value in values, otherwise)


def whole(low: int, high: int, otherwise: str = "") -> Word:
    """A word that takes a whole number between two bounds, both accepted."""

    def takes(value: str) -> bool:
        return _WHOLE.fullmatch(value) is not None and low <= int(value) <= high

    return Word(f"a whole number from {low:,} to {high:,}", takes, otherwise)


def unusable(otherwise: str) -> Word:
    """A word that is known, but has no effect here: so it is refused rather than passed over."""
    return Word("", lambda _: False, otherwise)


def read_words(
    given: Sequence[tuple[str, str]], table: Mapping[str, Word], others: str
) -> dict[str, str]:
    """The words with their values, empty ones left out; of a word given twice the last counts.

    Args:
        given: Names and values.
        table: The words that there are.
        others: What to do about a word that is not in the table.

    Raises:
        ValueError: With all words that can't be used, and why; of values it shows none.
    """
    words = dict(given)
    if faults := list(_faults(words, table, others)):
        raise ValueError(", and ".join(dict.fromkeys(faults)))
    return {name: value for name, value in words.items() if value or table[name].blank}


def _faults(words: Mapping[str, str], table: Mapping[str, Word], others: str) -> Iterator[str]:
    # An unencoded & in a password makes a word of its rest.
    hidden = not SECRET_WORDS.isdisjoint(words)
    for name, value in words.items():
        word = table.get(name)
        if word is None:
            yield _unknown(name, table, others, hidden=hidden)
        elif not word.accepts:
            yield f"has the word {name}, which can't be used here: {word.otherwise}"
        elif value and not word.takes(value):
            why = f": {word.otherwise}" if word.otherwise else ""
            yield f"has a value of {name} that is not one of those accepted, {word.accepts}{why}"


def _unknown(name: str, table: Mapping[str, Word], others: str, *, hidden: bool) -> str:
    meant = difflib.get_close_matches(name, table, n=1, cutoff=0.7)
    remedy = f"did you mean {meant[0]}?" if meant else others
    if hidden or not _SHOWABLE.fullmatch(name):
        return f"has a word in its query that does not exist; {others}"
    return f"has the word {name}, which does not exist; {remedy}"
