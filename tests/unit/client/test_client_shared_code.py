"""The client has the worker's own rules, character by character."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "clients" / "python"
SHARED = {
    "token_rules.py": ROOT / "worker/core/token/token_rules.py",
    "support_code.py": ROOT / "worker/core/support_code.py",
}


@pytest.mark.parametrize("name", SHARED)
def test_the_copies_are_equal(name: str) -> None:
    """What can be a token, and what a support code is, is written once; `cp` mends a copy."""
    ours, theirs = CLIENT / "resolution_client" / name, SHARED[name]
    assert ours.read_bytes() == theirs.read_bytes(), f"cp {theirs} {ours}"


def test_importing_it_pulls_in_nothing_of_the_worker() -> None:
    """The client is imported without the worker, botocore, and what only the worker needs."""
    script = (
        "import sys, resolution_client, resolution_client.blocking, resolution_client.testing\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(CLIENT)!r})\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "aio_pika" in loaded
    unwanted = {"worker", "botocore", "aiobotocore", "aiohttp", "asyncpg", "msgspec", "structlog"}
    assert loaded.isdisjoint(unwanted)
