"""The credentials that a process knows, hidden in any text that leaves it: values, never names."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

# A shorter one occurs within harmless words.
_LEAST: Final = 6
# A shorter one is hidden only where it stands alone; a longer one is in no text by chance.
_STANDS_OUT: Final = 20
_AROUND: Final = r"[A-Za-z0-9_]"
# Defaults that are words of our own messages: hiding them would hide what a message says.
_WORDS: Final = frozenset(
    {"changeme", "database", "password", "postgres", "rabbitmq", "secret", "simulator", "worker"}
)
# Rotated credentials come without end; the oldest are long out of use.
_MOST: Final = 256


class KnownCredentials:
    """Hides credentials by value, in each form in which URLs, JSON and `repr` write them.

    Hiding takes time proportional to the text's length, which is not bounded.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, re.Pattern[str]]] = {}  # forms by credential, oldest first

    def __contains__(self, text: str) -> bool:
        return text in self._known

    def keep(self, credential: str) -> None:
        """Hide a credential from now on; one that is a short or common word is none."""
        if len(credential) < _LEAST or credential.casefold() in _WORDS:
            return
        self._known.pop(credential, None)
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[credential] = {form: _pattern(form) for form in forms(credential)}

    def hide(self, text: str) -> str:
        """The text without the credentials."""
        found = [
            (form, pattern)
            for each in self._known.values()
            for form, pattern in each.items()
            if form in text
        ]
        for _, pattern in sorted(found, key=lambda each: len(each[0]), reverse=True):
            text = pattern.sub(REDACTED, text)
        return text


KNOWN: Final = KnownCredentials()
"""Those of this process: whoever reads or is given one keeps it here, whoever writes asks here."""


def forms(secret: str) -> tuple[str, ...]:
    """A secret as it is, and as URLs, JSON and `repr` write it."""
    plus = quote_plus(secret, safe="", errors="backslashreplace")
    percent = quote(secret, safe="", errors="backslashreplace")
    return tuple(
        dict.fromkeys((secret, percent, plus, json.dumps(secret)[1:-1], repr(secret)[1:-1]))
    )


def _pattern(form: str) -> re.Pattern[str]:
    escaped = re.escape(form)
    if len(form) >= _STANDS_OUT:
        return re.compile(escaped)
    before = rf"(?:(?<!{_AROUND})|(?<=%[0-9A-Fa-f]{{2}}))"
    return re.compile(rf"{before}{escaped}(?!{_AROUND})")
