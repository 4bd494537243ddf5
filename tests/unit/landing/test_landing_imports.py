"""What the example stands on: it is to be copied."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "landing-page"
CLIENT = EXAMPLE.parents[1] / "clients" / "python"
OUTSIDE = {"django", "flask", "jinja2", "landing", "resolution_client", "starlette", "uvicorn"}
FREE = ("limits", "provisioning", "security", "settings", "store", "visits")


def imported(path: Path) -> set[str]:
    """The first words of all that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_it_stands_on_the_client_alone() -> None:
    """Nothing of the worker, the harness or of another library than its own is imported."""
    modules = list(EXAMPLE.rglob("*.py"))
    assert len(modules) > 10
    known = OUTSIDE | sys.stdlib_module_names | {"werkzeug"}
    assert {name for path in modules for name in imported(path) - known} == set()


def test_what_other_frameworks_use_needs_none() -> None:
    """The modules that the single files use import no web framework."""
    names = ", ".join(f"landing.{name}" for name in FREE)
    program = f"import sys, {names}; sys.exit('starlette' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=EXAMPLE,
        env={"PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
