"""The faults that keep a replica from working."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_YET: Final = "not up yet"


@dataclass(slots=True)
class Health:
    """Faults by part; a part without a fault is absent."""

    faults: dict[str, str] = field(default_factory=dict)

    def reporter(self, part: str) -> Callable[[str | None], None]:
        """A function by which a part reports why it is down, or None for up; it starts as down."""
        self.faults[part] = NOT_YET

        def report(reason: str | None) -> None:
            if reason is None:
                self.faults.pop(part, None)
            else:
                self.faults[part] = reason

        return report
