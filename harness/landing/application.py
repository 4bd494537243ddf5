"""The landing page as a process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.installation import bare_environment
from harness.programs import Program, fetch
from harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.installation import Installation

_ROOT: Final = Path(__file__).parents[2]


class LandingPage(Program):
    """A started `python -m landing`.

    Args:
        broker: The address of its broker user.
        database: Its file; several processes may share one.
        environment: The rest of its environment; goes first.
        port: Where it listens; 0 for a free port.
    """

    command = (sys.executable, "-m", "landing")
    folder = _ROOT / "examples" / "landing-page"

    def __init__(
        self, broker: str, database: Path, environment: Mapping[str, str], port: int = 0
    ) -> None:
        own = {
            "RESOLUTION_AMQP__URL": broker,
            "LANDING_DATABASE": str(database),
            "LANDING_PORT": str(port),
            "PYTHONPATH": str(_ROOT / "clients" / "python"),
        }
        super().__init__(environment={**own, **environment})

    @property
    def port(self) -> int:
        """Where it listens, as it says; 0 until then."""
        words = next((line.split() for line in self.out if line.startswith("listening on ")), [])
        return int(words[-1].rpartition(":")[2]) if words else 0

    @property
    def url(self) -> str:
        """Its address: on another site than 127.0.0.1, where AWS Marketplace is played."""
        return f"http://localhost:{self.port}"

    async def ready(self) -> None:
        """Wait until it serves."""

        async def serves() -> bool:
            assert self.process.poll() is None, self.said
            return self.port > 0 and (await fetch(f"{self.url}/healthz"))[0] == 200

        await eventually(serves, "the landing page serves")


def landing_on(stage: Installation, port: int = 0, **environment: str) -> LandingPage:
    """Start a landing page on a stage, with which it ends; all of a stage share one database.

    It takes the word of a proxy on this machine for where a buyer comes from.
    """
    own = {**bare_environment(stage.home), "LANDING_TRUSTED_PROXIES": "127.0.0.1", **environment}
    page = LandingPage(stage.web, stage.home / "landing.sqlite", own, port)
    stage.started.append(page)
    return page
