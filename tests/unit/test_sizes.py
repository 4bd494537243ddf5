"""Code is read in pieces: no function is longer than a screen, no module than a few of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MOST_FUNCTION_LINES = 40
MOST_MODULE_LINES = 300
ROOT = Path(__file__).parents[2]
FOLDERS = ("worker", "clients", "examples", "harness", "benchmarks")


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_and_modules_keep_their_bounds(folder: str) -> None:
    """A function has at most 40 lines, docstring included, and a module at most 300."""
    long = []
    modules = list((ROOT / folder).rglob("*.py"))
    for path in modules:
        text = path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > MOST_MODULE_LINES:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION_LINES:
                long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert modules
    assert long == []
