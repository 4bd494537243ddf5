"""What keeps a replica from working, and whether it should go on at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Health:
    """Faults by part; a part without a fault is absent."""

    faults: dict[str, str] = field(default_factory=dict)

    def reporter(self, part: str) -> Callable[[str | None], None]:
        """How a part reports why it is down, or None for up. Until it reports, it is down."""
        self.faults[part] = "not up yet"

        def report(reason: str | None) -> None:
            if reason is None:
                self.faults.pop(part, None)
            else:
                self.faults[part] = reason

        return report
