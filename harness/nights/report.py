"""The table of the nights, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.nights.night import Played

_HEAD: Final = (
    "night",
    "alert and runbook",
    "faster",
    "bound (s)",
    "to page (s)",
    "as run (s)",
    "pages",
    "tickets",
    "commands",
    "to clear (s)",
    "as run (s)",
)


def table(nights: Iterable[Played]) -> str:
    """The table, and beneath it all that was not as it should be."""
    lines = [_row(_HEAD), _row(["---"] * len(_HEAD))]
    faults = []
    for each in nights:
        lines.append(_row(_cells(each)))
        faults += [f"- {each.night.name}: {fault}" for fault in each.faults]
    return "\n".join((*lines, "", *(faults or ["Each night was as it should be."])))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(each: Played) -> list[str]:
    alert = each.night.alert
    return [
        each.night.name,
        f"[{alert}](runbooks/{alert}.md)",
        f"{each.night.faster} times",
        f"{each.night.bound:.0f}",
        *_seconds(each.told, each.night.faster),
        str(len(each.pages)),
        ", ".join(each.tickets) or "none",
        str(each.commands),
        *_seconds(each.cleared, each.night.faster),
    ]


def _seconds(run: float | None, faster: int) -> tuple[str, str]:
    """Seconds of real time at most, and as run."""
    return ("never", "never") if run is None else (f"{run * faster:.0f}", f"{run:.1f}")
