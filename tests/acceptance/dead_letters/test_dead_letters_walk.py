"""A night with a wrong seller account, in four commands."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from harness.reprocessing import (
    MENDED,
    TWO_SELLERS,
    WRONG,
    as_seller,
    audited,
    dead_letters,
    histories,
    states,
    told,
)
from harness.waiting import eventually

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier

TOKENS = 200


@pytest.mark.parametrize("simulator", [TWO_SELLERS], ids=["sellers"], indirect=True)
async def test_a_wrong_seller_account_is_mended_in_four_commands(
    stage: Installation, web: WebTier
) -> None:
    """Rejected for foreign credentials, all tokens resolve after groups, dry run and a canary."""
    worker = await stage.run(**as_seller(WRONG))
    tokens = [f"seller-{MENDED}-{n}" for n in range(TOKENS)]
    ids = await asyncio.gather(*(web.submit(token, reply_to=web.reply_to) for token in tokens))
    for ident in ids:
        assert (await web.event(ident)).status == "rejected"
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0
    await stage.run(**as_seller(MENDED))

    groups = dead_letters(stage, "groups", "--json")
    (group,) = told(groups)["groups"]
    assert (group["letters"], group["redeemable"]) == (TOKENS, TOKENS)
    choice = ("--group", group["group"])
    looked = dead_letters(stage, "replay", *choice, "--dry-run", "--json")
    assert told(looked)["would_replay"] == TOKENS
    assert await states(stage) == {"open": TOKENS}
    why = ("--reason", "credentials mended", "--actor", "ann")
    done = dead_letters(stage, "replay", *choice, "--canary", "5", *why)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{TOKENS} dead letters published" in done.stdout
    assert done.stdout.count("resolved\n") == 5

    async def all_resolved() -> bool:
        return await states(stage) == {"resolved": TOKENS}

    await eventually(all_resolved, "every letter is closed as resolved")
    for ident in ids:
        assert (await web.event(ident, nth=2)).status == "resolved"
        assert [reply.status for reply in web.replies[ident]] == ["rejected", "resolved"]
    (row,) = await stage.schema.rows("SELECT count(*), min(status) FROM resolution.outcomes")
    assert tuple(row) == (TOKENS, "resolved")
    # A worker may be done with a letter before its publisher has noted that it is out.
    events = [sorted(kinds) for kinds in await histories(stage)]
    assert events == [["failed", "replayed", "resolved"]] * TOKENS
    (begin,) = await audited(stage, "dead-letters.replay")
    (end,) = await audited(stage, "dead-letters.replay.end")
    for entry in (begin, end):
        assert (entry["actor"], entry["reason"]) == ("ann", "credentials mended")
        assert entry["session_user_name"] == "resolution_operator"
    assert end["subject"]["published"] == TOKENS
    calls = (await stage.simulator.order("GET", "stats"))["calls"]
    assert (calls["token"], calls["ok"]) == (TOKENS, TOKENS)
