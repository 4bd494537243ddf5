"""What the environment says; the variables of `resolution_client` are read by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to serve, and where to remember.

    Attributes:
        database: The SQLite file. All processes of the landing page share one.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        trusted_proxies: Addresses of your own proxies, whose `X-Forwarded-For` is believed,
            separated by commas; nobody's if it is empty.
    """

    database: Path = Path("landing.sqlite")
    host: str = "127.0.0.1"
    port: int = 8000
    trusted_proxies: str = ""

    @classmethod
    def from_env(cls) -> Self:
        """The variables LANDING_DATABASE, LANDING_HOST, LANDING_PORT, LANDING_TRUSTED_PROXIES."""
        given = os.environ.get
        return cls(
            Path(given("LANDING_DATABASE") or "landing.sqlite"),
            given("LANDING_HOST") or "127.0.0.1",
            int(given("LANDING_PORT") or 8000),
            given("LANDING_TRUSTED_PROXIES") or "",
        )
