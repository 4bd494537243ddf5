"""The ground on which scenarios run, and which of them a run includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.neighbours.scenario")

from harness.ground import Ground, migrated, sealing_pair  # noqa: E402 - as above
from harness.installation import simulating  # noqa: E402 - asserts are rewritten first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.servers import BrokerServer, PostgresServer


def _asked_for(config: pytest.Config) -> bool:
    return "neighbours" in (config.option.markexpr or "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long scenarios to `-m neighbours`."""
    if _asked_for(config):
        return
    long = [
        item
        for item in items
        if item.get_closest_marker("neighbours") and not item.get_closest_marker("neighbours_quick")
    ]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether the scenarios run at full length."""
    return _asked_for(request.config)


@pytest.fixture(scope="session")
def ground(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ground]:
    """The session's servers, which must not be hurt themselves; each scenario has its own AWS."""
    home = tmp_path_factory.mktemp("neighbours")
    keys = sealing_pair(home)
    with migrated(postgres_server) as template, simulating(home) as nobody:
        yield Ground(broker_server, postgres_server, template, nobody, keys, home)
