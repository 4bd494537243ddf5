"""Texts that must not be written: live tokens by value, and what looks like a credential.

A real token is longer than `SHORT`, so a text that contains one is longer too. That is why a short
value of our own events is only compared whole (one look into a table, however many tokens live),
while longer ones, and all that comes from other libraries, are searched through.
"""

import json
import re
from collections import Counter
from urllib.parse import quote

REDACTED = "[redacted]"
SHORT = 64
MAX_TEXT = 16_384
_TAIL = 4_096
# A token of the largest size with every character percent-encoded may straddle a cut.
_SLACK = 3 * 8_192
# Anything shorter is found in too many innocent words, and no secret.
_LEAST = 4
# Several times what one process holds at once; each new token makes the oldest one give way.
_CAPACITY = 4_096

_END = r"(?=[\r\n])|$"
_QUOTED = "|".join(rf"\\*{q}(?:[^{q}\\\r\n]|\\.)*\\*(?:{q}|{_END})" for q in "\"'")
_VALUE = rf"""{_QUOTED}|[^\s"'&,}}]+"""
_KEYS = (
    r"registration_?token|x-amzn-marketplace-token|(?:aws_?)?secret_?(?:access_?)?key|"
    r"(?:aws_?)?session_?token|x-amz-security-token|pass(?:word|wd)|open_keys"
)
_MEMBER = re.compile(rf"""(?i)((?:{_KEYS})\\*["']?\s{{0,8}}[:=]\s{{0,8}}b?)(?:{_VALUE})""")
_AUTHORIZATION = re.compile(r"""(?i)(authorization\\*["']?\s{0,8}[:=]\s{0,8}b?["']?)[^\r\n"']+""")
_URL_PASSWORD = re.compile(r"""(://[^\s/:@"']{0,256}:)[^\s"']{1,512}@""")
_PATTERNS = (
    (_MEMBER, rf'\1"{REDACTED}"'),
    (_AUTHORIZATION, rf"\1{REDACTED}"),
    (_URL_PASSWORD, rf"\1{REDACTED}@"),
)


class Secrets:
    """The tokens alive in this process, each as often as it is alive, and lasting secrets.

    Adding, discarding and asking take constant time. When full, the oldest token makes room.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._live: Counter[str] = Counter()
        self._lasting: set[str] = set()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, text: str) -> bool:
        return text in self._live or text in self._lasting

    def __repr__(self) -> str:
        return f"Secrets({len(self)} live)"

    def add(self, token: str) -> None:
        """Hides a token until it is discarded as often as it was added."""
        live = self._live
        if token not in live and len(live) >= self._capacity:
            del live[next(iter(live))]
        live[token] += 1

    def discard(self, token: str) -> None:
        """Takes one `add` back; a token that is not there is passed over."""
        count = self._live.get(token, 0)
        if count > 1:
            self._live[token] = count - 1
        elif count:
            del self._live[token]

    def keep(self, secret: str) -> None:
        """Hides a secret, a password say, for as long as the process lives."""
        self._lasting.add(secret)

    def hide(self, text: str) -> str:
        """The text without secrets, and no longer than about `MAX_TEXT` characters."""
        if len(text) <= MAX_TEXT + 2 * _SLACK:
            hidden = self._hide(text)
            return hidden if len(hidden) <= MAX_TEXT else _joined(hidden, hidden)
        # What is cut off is dropped together with any token the cut went through.
        head = self._hide(text[: MAX_TEXT + _SLACK])[:-_SLACK]
        return _joined(head, self._hide(text[-(_TAIL + _SLACK) :])[_SLACK:])

    def hide_in_long(self, text: str) -> str:
        """The same, but a short text is only compared whole."""
        return self.hide(text) if len(text) > SHORT or text in self else text

    def _hide(self, text: str) -> str:
        for found in sorted(self._found(text), key=len, reverse=True):
            text = text.replace(found, REDACTED)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def _found(self, text: str) -> set[str]:
        known = [*self._live, *self._lasting]
        found = {secret for secret in known if secret in text}
        if "%" in text or "\\" in text:
            found |= {form for secret in known for form in _escaped(secret) if form in text}
        return {form for form in found if len(form) >= _LEAST or form == text}


def _escaped(secret: str) -> tuple[str, ...]:
    percent = quote(secret, safe="", errors="backslashreplace")
    return percent, json.dumps(secret)[1:-1], repr(secret)[1:-1]


def _joined(head: str, tail: str) -> str:
    return f"{head[: MAX_TEXT - _TAIL]} […] {tail[-_TAIL:]}"
