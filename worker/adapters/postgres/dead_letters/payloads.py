"""The only access to what is sealed in dead letters: who asks is audited first."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters.views import SealedPayload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.commands import Actor


_OPEN_PAYLOADS: Final = load_sql("dead_letters/open_payloads")


class Purpose(StrEnum):
    """What payloads are opened for, as the audit names it."""

    REVEAL = "dead-letters.reveal"
    REPLAY = "dead-letters.replay.open"
    RESEAL = "dead-letters.reseal.open"


async def open_payloads(
    session: Session,
    ids: Sequence[int],
    actor: Actor,
    purpose: Purpose,
    about: Mapping[str, Any] | None = None,
) -> dict[int, SealedPayload]:
    """Return what is sealed in dead letters, by their ids, without those that do not exist.

    The audit gets an entry that names the dead letters, unless no payload is left.

    Args:
        session: Within a transaction the entry is written if and only if that is committed.
        ids: Which dead letters.
        actor: Who, and why.
        purpose: What for.
        about: What else to write into the entry.
    """
    who = (storable_text(actor.name), storable_text(actor.reason))
    rows = await session.fetch(
        _OPEN_PAYLOADS, json.dumps(ids), *who, purpose, json.dumps(dict(about or {}))
    )
    return {row["id"]: SealedPayload(*row) for row in rows}
