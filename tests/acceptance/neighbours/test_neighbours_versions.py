"""Two versions of the schema side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.outcomes import fresh, row
from worker.adapters.postgres.migrate import LATEST, Migration, bundled, migrate

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier

# What a migration that only expands may hold.
_EXPANSION = """\
ALTER TABLE resolution.ledger ADD COLUMN colour text;
ALTER TABLE resolution.agreement ADD COLUMN shade text DEFAULT 'plain';
ALTER TABLE resolution.dead_letter ADD COLUMN weight integer CHECK (weight > 0);
CREATE TABLE resolution.palette (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE INDEX ledger_by_colour ON resolution.ledger (colour);
"""


async def expand(stage: Installation) -> None:
    """Do what the next version's `migrate` will do."""
    newer = Migration.of(f"{LATEST + 1:04}_colour.sql", _EXPANSION)
    await migrate(lambda: stage.schema.migrator, migrations=[*bundled(), newer])


async def settle_all_kinds(stage: Installation, web: WebTier) -> None:
    """One token of each kind that leaves a row somewhere else."""
    for word, status in {"ok": "resolved", "old": "resolved", "invalid": "rejected"}.items():
        token = fresh(word)
        assert (await web.settled(token)).status == status
        assert (await row(stage, token))["status"] == status
    await web.publish(b"no JSON", message_id="unreadable")
    assert (await web.event("unreadable")).status == "malformed"


async def test_a_running_worker_goes_on_under_a_newer_schema(
    stage: Installation, web: WebTier
) -> None:
    """A schema that is expanded under a worker leaves it ready, and it settles as before."""
    worker = await stage.run()
    await settle_all_kinds(stage, web)

    await expand(stage)

    await settle_all_kinds(stage, web)
    await worker.ready()
    assert worker.logged("waiting_for_ledger") == []
    assert "Traceback" not in worker.said


async def test_an_older_worker_starts_on_a_newer_schema(stage: Installation, web: WebTier) -> None:
    """A worker that starts on a schema newer than it knows is ready and settles."""
    await expand(stage)

    worker = await stage.run()

    await settle_all_kinds(stage, web)
    assert worker.logged("waiting_for_ledger") == []


@pytest.mark.long
async def test_an_older_migrate_leaves_a_newer_schema_alone(
    stage: Installation, web: WebTier
) -> None:
    """`migrate` of an older version succeeds on a newer schema and changes nothing in it."""
    await expand(stage)

    done = stage.command("migrate", WORKER_POSTGRES__ADMIN_DSN=stage.schema.migrator)

    assert done.returncode == 0, done.stderr
    (found,) = await stage.schema.rows("SELECT max(version) FROM resolution.schema_migration")
    assert found[0] == LATEST + 1
    await stage.run()
    await settle_all_kinds(stage, web)
