"""Whether constants of the law sit on an edge: what breaks with 0.6 and 1.6 times each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.judging import judged
from worker.core.rate import quota

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.simulation.bounds import Scenario
    from tests.simulation.judging import Judgement, Plays

FACTORS: Final = (0.6, 1.6)


def table() -> dict[str, float]:
    """The constants of the law, by name."""
    return {n: value for n, value in vars(quota).items() if n.isupper() and type(value) is float}


def edges(scenarios: Mapping[str, Scenario], seeds: Sequence[int], plays: Plays) -> Iterator[str]:
    """Lines of Markdown: the law as it is, then with each constant changed, one at a time."""
    yield "| constant | times | which bounds broke: mean / tail (bound) |"
    yield "| --- | --- | --- |"
    yield _line("as it is", 1.0, judged(scenarios, seeds, plays))
    for name, value in table().items():
        for factor in FACTORS:
            changed = {name: factor * value}
            yield _line(f"`{name}`", factor, judged(scenarios, seeds, plays, changed))


def _line(name: str, factor: float, judgements: Iterator[Judgement]) -> str:
    broken = "; ".join(_words(each) for each in judgements if not each.kept)
    return f"| {name} | {factor:g} | {broken or '-'} |"


def _words(broken: Judgement) -> str:
    figures = f"{broken.mean:.3g} / {broken.tail:.3g} ({broken.bound})"
    return f"{broken.scenario}, {broken.measure}: {figures}"
