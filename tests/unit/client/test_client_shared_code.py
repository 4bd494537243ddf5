"""The client has the worker's own rules, character by character."""

from __future__ import annotations

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
