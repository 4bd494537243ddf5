"""All that leaves a worker, as text in which a secret can be looked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier


async def everything(stage: Installation, web: WebTier, worker: Worker) -> dict[str, str]:
    """Metrics, all tables, events, replies, and the command lines of all processes."""
    tables = await stage.schema.rows(
        "SELECT format('%I.%I', table_schema, table_name) AS name"
        " FROM information_schema.tables WHERE table_schema NOT LIKE 'pg\\_%'"
        " AND table_schema <> 'information_schema'"
    )
    activity = await stage.schema.rows("SELECT query FROM pg_stat_activity")
    dump = [str(tuple(row)) for row in activity]
    for table in tables:
        rows = await stage.schema.rows(f"SELECT t::text AS line FROM {table['name']} t")
        dump += [str(row["line"]) for row in rows]
    told = [repr(one) for told in web.events.values() for one in told]
    replies = [repr(one) for told in web.replies.values() for one in told]
    return {
        "metrics": (await worker.get("/metrics"))[1],
        "tables": "\n".join(dump),
        "events": "\n".join(told),
        "replies": "\n".join(replies),
        "processes": _processes(),
    }


def _processes() -> str:
    """Command line and environment of every process."""
    texts = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                texts.append((folder / name).read_bytes().decode(errors="replace"))
            except OSError:
                continue  # it has ended, or is not ours to read
    return "\n".join(texts)


def around(text: str, word: str) -> str:
    """The place in a text where a word is."""
    at = text.index(word)
    return text[max(0, at - 150) : at + len(word) + 50]
