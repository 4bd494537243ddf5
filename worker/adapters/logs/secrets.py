"""Hides secrets in texts: live tokens by value, and anything that looks like a credential.

A real token is longer than `SHORT`, so a text that contains one is longer too. Therefore a short
value in our own events is only compared as a whole (one look-up in a table, however many tokens
there are), while longer values, and all values from libraries, are searched.
"""

import re
from collections import Counter

from worker.core.credentials import REDACTED, KnownCredentials, forms

SHORT = 64
MAX_TEXT = 16_384
_TAIL = 4_096
# A token of the largest size with every character percent-encoded may straddle a cut.
_SLACK = 3 * 8_192
# Anything shorter occurs in too many harmless words, and is no secret.
_LEAST = 4
# Several times what one process holds at once; each new token then replaces the oldest one.
_CAPACITY = 4_096
# Memory for as many tokens as may be in hand, of the maximum length and the widest characters.
_MOST_BYTES = 24 * 1024 * 1024
# Enough to distinguish tokens that were not made similar on purpose.
_PIECE = 16
_PLAIN = re.compile(rf"[A-Za-z0-9]{{{_PIECE}}}")
# More secrets than this are not searched for one by one.
_MOST_LIKELY = 16
_WORD = re.compile(r"\S+")

_END = r"(?=[\r\n])|$"
_QUOTED = "|".join(rf"\\*{q}(?:[^{q}\\\r\n]|\\.)*\\*(?:{q}|{_END})" for q in "\"'")
_VALUE = rf"""{_QUOTED}|[^\s"'&,}}]+"""
_KEYS = (
    r"registration_?token|x-amzn-marketplace-token|(?:aws_?)?secret_?(?:access_?)?key|"
    r"(?:aws_?)?session_?token|x-amz-security-token|pass(?:word|wd)|open_keys"
)
_MEMBER = re.compile(rf"""(?i)((?:{_KEYS})\\*["']?\s{{0,8}}[:=]\s{{0,8}}b?)(?:{_VALUE})""")
_AUTHORIZATION = re.compile(r"""(?i)(authorization\\*["']?\s{0,8}[:=]\s{0,8}b?["']?)[^\r\n"']+""")
# Not the word itself, with which a remedy shows where a password goes.
_URL_PASSWORD = re.compile(r"""(://[^\s/:@"']{0,256}:)(?!password@)[^\s"']{1,512}@""")
_PATTERNS = (
    (_MEMBER, rf'\1"{REDACTED}"'),
    (_AUTHORIZATION, rf"\1{REDACTED}"),
    (_URL_PASSWORD, rf"\1{REDACTED}@"),
)


class Secrets:
    """The live tokens of this process, with a count of their uses, and its credentials.

    Adding, discarding and look-ups take constant time, and hiding takes time proportional to the
    text's length, however many tokens there are. When full, the oldest token is removed.

    Args:
        capacity: Maximum number of tokens.
        most_bytes: Maximum memory that they take.
        credentials: Passwords and keys, hidden as well.
    """

    def __init__(
        self,
        capacity: int = _CAPACITY,
        most_bytes: int = _MOST_BYTES,
        credentials: KnownCredentials | None = None,
    ) -> None:
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._bytes = 0
        self._live: dict[str, int] = {}  # number of uses; in the order of adding
        self.credentials = KnownCredentials() if credentials is None else credentials
        self._index = _Index()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, text: str) -> bool:
        return text in self._live or text in self.credentials

    def __repr__(self) -> str:
        return f"Secrets({len(self)} live)"

    def add(self, token: str) -> None:
        """Hides a token until it has been discarded as often as added."""
        count = self._live.pop(token, 0)
        if not count:
            self._bytes += _bytes_of(token)
            while self._live and self._is_full():
                self._forget(next(iter(self._live)))
            self._index.add(token)
        self._live[token] = count + 1

    def discard(self, token: str) -> None:
        """Undoes one `add`; an unknown token is ignored."""
        count = self._live.get(token, 0)
        if count > 1:
            self._live[token] = count - 1
        elif count:
            self._forget(token)

    def _is_full(self) -> bool:
        return len(self._live) >= self._capacity or self._bytes > self._most_bytes

    def _forget(self, token: str) -> None:
        del self._live[token]
        self._bytes -= _bytes_of(token)
        self._index.discard(token)

    def hide(self, text: str) -> str:
        """The text without secrets, and no longer than about `MAX_TEXT` characters."""
        if len(text) <= MAX_TEXT + 2 * _SLACK:
            hidden = self._hide(text)
            return hidden if len(hidden) <= MAX_TEXT else _joined(hidden, hidden)
        # The part cut off includes any token that the cut goes through.
        head = self._hide(text[: MAX_TEXT + _SLACK])[:-_SLACK]
        return _joined(head, self._hide(text[-(_TAIL + _SLACK) :])[_SLACK:])

    def hide_in_long(self, text: str) -> str:
        """As `hide`, but a short text is only compared with tokens as a whole."""
        if len(text) > SHORT or text in self._live:
            return self.hide(text)
        return self.credentials.hide(text)

    def _hide(self, text: str) -> str:
        likely = self._index.likely(text)
        if len(likely) > _MOST_LIKELY:
            # So many similar tokens are made on purpose. A message's token contains no space.
            text = _WORD.sub(self._hidden_word, text)
            likely = set()
        text = self.credentials.hide(text)
        for found in sorted(_found(likely, text), key=len, reverse=True):
            text = text.replace(found, REDACTED)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def _hidden_word(self, word: re.Match[str]) -> str:
        return REDACTED if self._index.pieces(word[0]) else word[0]


def _bytes_of(token: str) -> int:
    """An upper bound of its memory: the real width of its characters would take a search."""
    return len(token) * (1 if token.isascii() else 4)


class _Index:
    """Secrets by a piece of each of their forms, so that a text is searched only once."""

    def __init__(self) -> None:
        self._by_piece: dict[str, set[str]] = {}
        self._sizes: Counter[int] = Counter()

    def add(self, secret: str) -> None:
        for piece in _pieces(secret):
            if piece not in self._by_piece:
                self._by_piece[piece] = set()
                self._sizes[len(piece)] += 1
            self._by_piece[piece].add(secret)

    def discard(self, secret: str) -> None:
        for piece in _pieces(secret):
            alike = self._by_piece[piece]
            alike.discard(secret)
            if not alike:
                del self._by_piece[piece]
                self._sizes[len(piece)] -= 1

    def likely(self, text: str) -> set[str]:
        """All secrets of which a form may be in the text, or equal a very short text."""
        likely = (secret for piece in self.pieces(text) for secret in self._by_piece[piece])
        return {secret for secret in likely if len(secret) <= len(text)}  # no form is shorter

    def pieces(self, text: str) -> set[str]:
        """All pieces that are in the text, or equal a very short text."""
        by_piece = self._by_piece
        pieces = {text} & by_piece.keys()
        for size in (size for size, count in self._sizes.items() if count and size >= _LEAST):
            windows = (text[at : at + size] for at in range(len(text) - size + 1))
            pieces.update(filter(by_piece.__contains__, windows))
        return pieces


def _found(secrets: set[str], text: str) -> set[str]:
    """The forms of these secrets that are in the text."""
    found = {form for secret in secrets for form in forms(secret) if form in text}
    return {form for form in found if len(form) >= _LEAST or form == text}


def _pieces(secret: str) -> set[str]:
    """A piece of each form, of at most `_PIECE` characters: a text with the form has the piece."""
    if plain := _PLAIN.search(secret, len(secret) // 3):
        return {plain[0]}  # the same in each form
    middle = _middle(secret)
    # How `repr` writes a quotation mark depends on the other ones in the whole secret.
    single = repr(middle + "'\"")[1:-4]
    return {_middle(form) for form in (*forms(middle), single)}


def _middle(text: str) -> str:
    start = max(0, (len(text) - _PIECE) // 2)
    return text[start : start + _PIECE]


def _joined(head: str, tail: str) -> str:
    return f"{head[: MAX_TEXT - _TAIL]} […] {tail[-_TAIL:]}"
