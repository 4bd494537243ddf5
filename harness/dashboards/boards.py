"""The four dashboards, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.dashboards import buyers, calls, dead_letters, internals
from harness.dashboards.grafana import RUNBOOKS, document

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
BOARDS: Final = (buyers.BOARD, calls.BOARD, dead_letters.BOARD, internals.BOARD)


def files(runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """What the files hold, by their names."""
    return {
        f"{board.name}.json": json.dumps(document(board, runbooks), indent=1) + "\n"
        for board in BOARDS
    }
