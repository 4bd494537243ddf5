"""How far a call has got: what the connection's layers tell the caller."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.adapters.aws.signing import Identity


class Attempt:
    """One call or look, and how far it has got.

    Attributes:
        identity: Who signs it, for a library that can't be told; None where nobody asks.
        connecting: Whether the host's name was resolved.
        sent: Whether there was a connection for it, so that something may have been sent.
    """

    __slots__ = ("connecting", "identity", "sent")

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.connecting = self.sent = False


# Set around each call, because neither botocore nor aiohttp's connector passes on anything from the
# caller. The caller has found the identity before, within its own time limit, so that only the call
# itself can fail here.
attempt: ContextVar[Attempt] = ContextVar("attempt")
