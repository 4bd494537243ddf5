"""What was measured: as a table while it is measured, then as JSON and as plots."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.price.contenders import OURS
from benchmarks.price.plot import bars

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.price.backlog import Waiting
    from benchmarks.price.latency import Waits
    from benchmarks.price.saturated import Cost
    from benchmarks.price.telemetry import Telling


@dataclass
class Report:
    """All figures of one run.

    Attributes:
        costs: Of saturated workers, by name, a round each.
        replicas: Of so many replicas of this worker together, a round each.
        capacity: Submissions that this worker answers a second at most, where waits are measured.
        waits: By name, at each rate.
        budgets: Microseconds a token by stage, by name.
        telling: What this worker spends on metrics and logs.
        starts: Seconds from a start to the first settled token, in order.
        waiting: With few or many tokens waiting.
    """

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    replicas: dict[int, list[Cost]] = field(default_factory=dict)
    capacity: float = 0.0
    waits: dict[str, list[Waits]] = field(default_factory=dict)
    budgets: dict[str, dict[str, float]] = field(default_factory=dict)
    telling: Telling | None = None
    starts: list[float] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def cpu(self) -> dict[str, float]:
        """Median microseconds a token, by name."""
        return {
            name: statistics.median(each.cpu_microseconds for each in rounds)
            for name, rounds in self.costs.items()
        }

    def show_costs(self) -> None:
        """Print medians, and ratios within the rounds."""
        ours = self.costs.get(OURS.name)
        print(f"{'saturated':24}{'CPU us/token':>14}{'tokens/s':>10}{'MiB':>8}{'to ours':>10}")
        for name, cpu in self.cpu().items():
            rounds = self.costs[name]
            rate = statistics.median(cost.tokens_per_second for cost in rounds)
            peak = max(cost.peak_mib for cost in rounds)
            ratio = statistics.median(
                theirs.cpu_microseconds / mine.cpu_microseconds
                for theirs, mine in zip(rounds, ours or rounds, strict=True)
            )
            print(f"{name:24}{cpu:14.0f}{rate:10.0f}{peak:8.0f}{ratio:10.2f}", flush=True)

    def show_replicas(self) -> None:
        """Print what a token costs one replica and two, and what broker and database spend on it.

        A ratio is the median of those within the rounds.
        """
        print(f"\n{'replicas':24}{'CPU us/token':>14}{'tokens/s':>10}{'broker':>8}{'database':>10}")
        for count, rounds in self.replicas.items():
            cpu, rate = (
                statistics.median(getattr(each, name) for each in rounds)
                for name in ("cpu_microseconds", "tokens_per_second")
            )
            broker, database = (
                statistics.median(each.others_microseconds[name] for each in rounds)
                for name in ("broker", "database")
            )
            print(f"{count:<24}{cpu:14.0f}{rate:10.0f}{broker:8.0f}{database:10.0f}", flush=True)
        ratio = statistics.median(
            two.cpu_microseconds / one.cpu_microseconds
            for one, two in zip(*self.replicas.values(), strict=True)
        )
        print(f"CPU a token of two by that of one: {ratio:.2f}", flush=True)

    def show_budgets(self) -> None:
        """Print microseconds a token by stage."""
        print(f"\n{'CPU us/token by stage':24}" + "".join(f"{name:>24}" for name in self.budgets))
        for row in zip(*(budget.items() for budget in self.budgets.values()), strict=True):
            print(f"{row[0][0]:24}" + "".join(f"{cpu:24.0f}" for _, cpu in row), flush=True)

    def show_telling(self) -> None:
        """Print what metrics and logs take of a token's CPU."""
        assert self.telling is not None
        told, share = self.telling.telling, self.telling.share
        print(f"\nmetrics and logs, timed: {told:.1f} us a token, {share:.1%} of all", flush=True)

    def add_waiting(self, found: Waiting) -> None:
        """Keep what was measured with so many waiting, and print it."""
        if not self.waiting:
            print(f"\n{'tokens waiting':24}{'CPU us/token':>14}{'MiB':>10}")
        self.waiting.append(found)
        print(
            f"{found.tokens:<24,}{found.cpu_microseconds:14.0f}{found.peak_mib:10.0f}", flush=True
        )

    def show_starts(self) -> None:
        """Print how long starts took."""
        told = ", ".join(f"{seconds:.2f}" for seconds in self.starts)
        print(f"\nseconds from a start to the first settled token: {told}", flush=True)

    def add_waits(self, name: str, found: Waits) -> None:
        """Keep waits, and print a line of them."""
        if not self.waits:
            print("\nmilliseconds from publish to reply, beyond the 50 of AWS's")
        self.waits.setdefault(name, []).append(found)
        print(
            f"{name:24}{found.rate:6.0f}/s  p50 {found.p50:7.1f}  p90 {found.p90:7.1f}  "
            f"p99 {found.p99:7.1f}  max {found.most:7.1f}   {found.unanswered} unanswered",
            flush=True,
        )

    def write(self, folder: Path) -> None:
        """As `price.json`, `cpu.svg`, `budget.svg` and `waits.svg`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "price.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        plots = {
            "cpu": ("CPU a token, saturated", "\u00b5s", self.cpu()),
            "budget": (
                "A token's CPU by stage",
                "\u00b5s",
                self.budgets.get(OURS.name, {}),
            ),
            "waits": (
                "Wait beyond AWS's 50 ms, median",
                "ms",
                {
                    f"{name.partition(' ')[0]} {each.rate:.0f}/s": each.p50
                    for name, all_of in self.waits.items()
                    for each in all_of
                },
            ),
        }
        for file, (title, unit, values) in plots.items():
            if values:
                plot = bars(title, unit, values, ours=OURS.name)
                (folder / f"{file}.svg").write_text(plot)
