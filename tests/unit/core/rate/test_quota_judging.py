"""How the law is judged: seeds that broke a bound, and constants that are changed for a trial."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.simulation import edges, judging, recorded
from tests.simulation.__main__ import main
from tests.simulation.bounds import Scenario, at_most
from tests.simulation.scenarios import SCENARIOS, UNLUCKY
from worker.core.rate import quota

if TYPE_CHECKING:
    from pathlib import Path

# --- seeds that broke a bound ---

OWN = "a scenario of our own"
WORDS = ["--only", OWN, "--processes", "1"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where nothing is recorded yet."""
    empty = tmp_path / "recorded.csv"
    empty.write_text("scenario,measure,seed,value\n", encoding="utf-8")
    return empty


def own(monkeypatch: pytest.MonkeyPatch, add: float, tail: float = 5.0) -> None:
    """A scenario that comes to the seed's last digit and as much more."""
    scenario = Scenario(lambda seed: {"lost": seed % 10 + add}, {"lost": at_most(9.0, tail)})
    monkeypatch.setitem(SCENARIOS, OWN, scenario)


def test_a_broken_bound_is_recorded(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worst three of the fresh seeds outside it, which every later judgement plays again."""
    own(monkeypatch, 0)
    assert main([*WORDS, "--seeds", "10"], file) == 1
    found = recorded.seeds(file)
    assert sorted(seed.value for seed in found) == [7, 8, 9]
    assert all(seed.seed % 10 == seed.value for seed in found)
    assert "to be committed: 3 seeds" in capsys.readouterr().out

    # Seed 0 keeps the bound: the recorded ones are no part of its statistics.
    assert main([*WORDS, "--first", "0", "--seeds", "1"], file) == 0
    out = capsys.readouterr().out
    assert f"| {OWN} | lost | ≤ 9 / 5 | 0 | 0 | 0 (0) |  |" in out
    for seed in found:
        figure = f"{seed.value:g}"
        assert f"| {OWN} ({seed.seed}) | lost | ≤ 5 | {figure} | {figure} | outside |" in out


@pytest.mark.parametrize(("add", "verdict"), [(-9, ""), (0.1, "**worse**")])
def test_a_recorded_seed_may_come_to_nothing_worse(
    add: float,
    verdict: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Than when it was recorded, even where the other seeds break no bound."""
    own(monkeypatch, add)
    recorded.record([recorded.Recorded(OWN, "lost", 19, 9.0)], file)
    assert main([*WORDS, "--first", "0", "--seeds", "1"], file) == bool(verdict)
    assert f"| {OWN} (19) | lost | ≤ 5 | 9 | {9 + add:g} | {verdict} |" in capsys.readouterr().out


def test_chosen_seeds_are_not_recorded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names the seeds tries something, or knows that they are bad."""
    own(monkeypatch, 0)
    assert main([*WORDS, "--first", "0", "--seeds", "10"], file) == 1
    assert recorded.seeds(file) == []


def test_recorded_seeds_are_sorted_and_stay_as_they_were_first(file: Path) -> None:
    """There are no two of one seed."""
    first = recorded.Recorded("40 to 10", "used", 10, 0.5)
    other = recorded.Recorded("40 to 10", "used", 9, 0.25)
    recorded.record([first], file)
    recorded.record([other, recorded.Recorded("40 to 10", "used", 10, 0.1)], file)
    assert recorded.seeds(file) == [other, first]


RECORDED = recorded.seeds()


def test_what_is_recorded_can_be_played(file: Path) -> None:
    """Each names a bound that there is, and the file is as `record` would write it."""
    every = SCENARIOS | UNLUCKY
    assert RECORDED
    assert all(seed.measure in every[seed.scenario].bounds for seed in RECORDED)
    recorded.record(RECORDED, file)
    assert file.read_bytes() == recorded.FILE.read_bytes()


@pytest.mark.parametrize(
    "seed",
    [seed for seed in RECORDED if seed.scenario in SCENARIOS],
    ids=lambda seed: f"{seed.scenario}-{seed.seed}-{seed.measure}",
)
def test_a_seed_that_broke_a_bound_does_no_worse(seed: recorded.Recorded) -> None:
    """Than when it was recorded: it was the worst of its many then."""
    scenario = SCENARIOS[seed.scenario]
    now = scenario.measure(seed.seed)[seed.measure]
    assert not seed.worse(scenario.bounds[seed.measure], now), now


# --- constants that are changed for a trial ---


def test_a_changed_constant_is_what_the_law_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any correction a quota that has fallen is never kept; afterwards all is as before."""
    monkeypatch.setattr(edges, "table", lambda: {"GAIN": 0.01})
    chosen = {"40 to 10": SCENARIOS["40 to 10"]}
    with judging.processes(1) as plays:
        *_, usual, less, more = edges.edges(chosen, [9000], plays)
        again = next(islice(edges.edges(chosen, [9000], plays), 2, None))
    assert usual == again == "| as it is | 1 | - |"
    for line in (less, more):
        assert "from 20 s on: " in line
    assert quota.GAIN == 1.3


def test_constants_are_looked_up_where_they_are_changed() -> None:
    """No other module of the law has a copy of one."""
    constants = edges.table()
    assert {"FLOOR", "SLOWEST", "GAIN", "STRONG", "FALLEN"} <= set(constants)
    holders = {
        name
        for name, module in sys.modules.items()
        if name.startswith(("worker.core.rate", "worker.runtime.rate", "tests.simulation"))
        and any(vars(module).get(constant) == value for constant, value in constants.items())
    }
    assert holders == {quota.__name__}
