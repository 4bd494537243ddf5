"""On-call at work: the commands that act on dead letters, on an installation of the test's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.failed import fail
from harness.programs import Program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from harness.installation import Installation

MENDED = "mended"
WRONG = "wrong"
TWO_SELLERS = (
    *("--access-key", WRONG, "--secret-key", WRONG),
    *("--access-key", MENDED, "--secret-key", MENDED),
)


def as_seller(key: str) -> dict[str, str]:
    """The environment of a worker with this seller's credentials."""
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key}


def on_call(stage: Installation) -> dict[str, str]:
    """What somebody on call has in the environment beyond what a worker has."""
    name = "WORKER_DEAD_LETTERS__OPEN_KEYS"
    return {"WORKER_POSTGRES__DSN": stage.schema.operator, name: stage.keys[name]}


def dead_letters(
    stage: Installation, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `dead-letters …` to its end."""
    return stage.command("dead-letters", *arguments, **(on_call(stage) | settings))


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed."""
    return json.loads(done.stdout)


def started(stage: Installation, *arguments: str, **settings: str) -> Program:
    """Start `dead-letters …`; it ends with the installation at the latest."""
    environment = stage.environment(**(on_call(stage) | settings))
    program = Program("dead-letters", *arguments, environment=environment)
    stage.started.append(program)
    return program


async def failed(stage: Installation, tokens: Sequence[str], **options: Any) -> None:
    """Let tokens have failed some time ago, without any worker."""
    key = stage.keys["WORKER_DEAD_LETTERS__SEAL_KEY"]
    await fail(stage.schema.worker, key, tokens, **options)


async def states(stage: Installation) -> dict[str, int]:
    """How many letters are in which state."""
    rows = await stage.schema.rows(
        "SELECT state, count(*) AS letters FROM resolution.dead_letter GROUP BY state"
    )
    return {row["state"]: row["letters"] for row in rows}


async def audited(stage: Installation, action: str) -> list[dict[str, Any]]:
    """The entries of one action, oldest first."""
    rows = await stage.schema.rows(
        "SELECT * FROM resolution.audit WHERE action = $1 ORDER BY id", action
    )
    return [dict(row) | {"subject": json.loads(row["subject"])} for row in rows]


async def histories(stage: Installation) -> list[list[str]]:
    """What happened to each letter, in order of their ids."""
    rows = await stage.schema.rows(
        "SELECT array_agg(kind ORDER BY id) AS kinds FROM resolution.letter_event "
        "GROUP BY letter_id ORDER BY letter_id"
    )
    return [list(row["kinds"]) for row in rows]
