"""What can go wrong, as one small tree. No message shows a token or a password."""

from __future__ import annotations


class ResolverError(Exception):
    """Something that the web tier must handle or an operator must correct."""


class NotPublished(ResolverError):
    """The broker has not confirmed the submission; it is safe to submit the token again."""


class BadToken(ResolverError):
    """What was given can't be a registration token.

    Attributes:
        code: For programs, such as `TokenPercentEncoded`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Closed(ResolverError):
    """The resolver was closed, or was never opened."""
