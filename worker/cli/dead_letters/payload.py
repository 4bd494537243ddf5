"""The payload of a letter, opened for a person: what it is takes a reason, and leaves a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from worker.adapters.postgres.dead_letters import views
from worker.adapters.sealing import CannotOpen, Opener
from worker.cli.dead_letters.format_values import instant
from worker.cli.exits import PARTLY_FAILED, failure
from worker.core.dead_letters.commands import Actor

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.views import SealedPayload


@dataclass(frozen=True, slots=True)
class Reveal:
    """Who wants to read payloads, why, and with which keys."""

    opener: Opener = field(repr=False)
    actor: str
    reason: str

    async def open(self, session: Session, letter_id: int) -> bytes | None:
        """The payload, once it stands in the audit that it was read; None without the letter."""
        actor = Actor(self.actor, self.reason)
        found = await views.reveal(session, letter_id, actor)
        return None if found is None else self._opened(found)

    def _opened(self, found: SealedPayload) -> bytes:
        if found.sealed is None:
            since = "" if found.shredded_at is None else f" at {instant(found.shredded_at)} UTC"
            raise failure(
                f"the payload was shredded{since}: its token was past its lifetime, and nothing "
                "can bring it back. Without --reveal the rest is shown",
                PARTLY_FAILED,
            )
        try:
            return self.opener.open(found.sealed)
        except CannotOpen:
            raise failure(self._misfit(found), PARTLY_FAILED) from None

    def _misfit(self, found: SealedPayload) -> str:
        keys = ", ".join(self.opener.key_ids)
        if found.seal_key_id in self.opener.key_ids:
            return f"the payload was altered: the key {found.seal_key_id} does not open it"
        return (
            f"no key here opens the payload: it is sealed to the key {found.seal_key_id}, and "
            f"WORKER_DEAD_LETTERS__OPEN_KEYS has {keys}. Add the private key of that pair"
        )


def parts(opened: bytes) -> tuple[dict[str, Any], bytes]:
    """The properties and the body of an opened payload; see `messages.envelope`."""
    head, _, body = opened.partition(b"\n")
    properties: dict[str, Any] = orjson.loads(head)
    return properties, body
