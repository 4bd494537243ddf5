"""A whole worker whose database stands behind PgBouncer in transaction mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.waiting import eventually
from tests.acceptance.outcomes import fresh, row, tokens
from tests.pgbouncer import PROGRAM, pgbouncer

if TYPE_CHECKING:
    from pathlib import Path

    from harness.installation import Installation
    from harness.web_tier import WebTier

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed; run scripts/pgbouncer.sh"
)
_WORKERS = 2
_TOKENS = 150


async def test_workers_behind_a_pooler_settle_all(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """Two workers behind PgBouncer settle all kinds once, also after it has dropped them."""
    async with pgbouncer(tmp_path / "pooler", stage.schema.worker, "resolution_worker") as pooler:
        dsn = pooler.before(stage.schema.worker)
        workers = [await stage.run(WORKER_POSTGRES__DSN=dsn) for _ in range(_WORKERS)]
        words = {"ok": "resolved", "old": "resolved", "invalid": "rejected", "expired": "expired"}
        due = {token: status for word, status in words.items() for token in tokens(word, _TOKENS)}
        ids = {await web.submit(token): status for token, status in due.items()}
        await eventually(lambda: ids.keys() <= web.events.keys(), "all are told")
        assert {ident: web.events[ident][0].status for ident in ids} == ids

        ended = await stage.schema.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'resolution_worker' AND datname = current_database()"
        )
        assert ended
        again = fresh("ok")
        assert (await web.settled(again)).status == "resolved"

        assert (await row(stage, again))["status"] == "resolved"
        (found,) = await stage.schema.rows("SELECT count(*) AS settled FROM resolution.outcomes")
        assert found["settled"] == len(due) + 1
        for worker in workers:
            await worker.ready()
            assert "Traceback" not in worker.said
        stage.clear()  # before the pooler goes
