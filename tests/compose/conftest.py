"""The compose file on a Docker engine, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.compose import Compose, engine_missing

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave all of them to `-m compose`."""
    if "compose" in (config.option.markexpr or ""):
        return
    if ours := [item for item in items if item.get_closest_marker("compose")]:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if not item.get_closest_marker("compose")]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The project with its image and secrets; nothing of it is left when the session ends."""
    if missing := engine_missing():
        pytest.skip(f"{missing}; the compose file is tested where one is")
    compose = Compose(tmp_path_factory.mktemp("compose"))
    try:
        compose.prepare()
        yield compose
    finally:
        compose.end()


@pytest.fixture
def compose(built: Compose) -> Iterator[Compose]:
    """The project without containers and data."""
    built.end()
    yield built
    built.end()
