"""The whole process of `resolve-customer` beside the AWS CLI in both versions, in the same run.

`make bench-cli`, or `python benchmarks/cli.py --rounds 15`. Each round starts each command once,
against one simulator on loopback; bare botocore, which only makes a client and one call, is there
for comparison. Other work on the machine slows all of them alike, so look at the ratios of the
medians. Exits with 1 where a ratio is above its bound.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ROOT: Final = Path(__file__).resolve().parents[1]
_OURS: Final = "resolve-customer"
_BOUNDS: Final = {"AWS CLI v1": 0.7, "AWS CLI v2": 0.5}

_BARE: Final = """
import sys
import botocore.session
client = botocore.session.Session().create_client(
    "meteringmarketplace", region_name="us-east-1", endpoint_url=sys.argv[1]
)
print(client.resolve_customer(RegistrationToken="ok-bench"))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one whole process has taken, in seconds."""

    wall: float
    cpu: float


def contenders(url: str) -> dict[str, list[str]]:
    """The command lines by name."""
    v1 = _ROOT / os.environ.get("AWSCLI_VENV", ".venv-awscli") / "bin" / "aws"
    v2 = os.environ.get("AWSCLI_V2", "/usr/bin/aws")
    rest = ["resolve-customer", "--registration-token", "ok-bench", "--endpoint-url", url]
    return {
        "AWS CLI v1": [str(v1), "meteringmarketplace", *rest],
        "AWS CLI v2": [v2, "meteringmarketplace", *rest],
        "bare botocore": [sys.executable, "-c", _BARE, url],
        _OURS: [str(Path(sys.executable).with_name("resolution-worker")), *rest],
    }


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a command once to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=dict(environment), capture_output=True, check=True, timeout=60)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


@contextmanager
def simulator() -> Iterator[str]:
    """Where a simulator listens, until the block ends."""
    command = [sys.executable, "-m", "worker.lab.simulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def environment(home: str) -> dict[str, str]:
    """Credentials for the simulator, and nothing of the machine's own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "AWS_ACCESS_KEY_ID": "simulator",
        "AWS_SECRET_ACCESS_KEY": "simulator",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def main(rounds: int) -> int:
    """Measure, print, and judge."""
    with simulator() as url, tempfile.TemporaryDirectory() as home:
        commands, given = contenders(url), environment(home)
        for command in commands.values():
            measure(command, given)  # whatever is read from disk is read before it counts
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                costs[name].append(measure(command, given))
    return report(costs)


def report(costs: Mapping[str, Sequence[Cost]]) -> int:
    """Print medians and ratios; returns the exit code."""
    walls = {name: statistics.median(each.wall for each in those) for name, those in costs.items()}
    cpus = {name: statistics.median(each.cpu for each in those) for name, those in costs.items()}
    print(
        f"{'':<16}{'wall ms':>9}{'CPU ms':>9}{'ours/its wall':>15}{'ours/its CPU':>14}{'bound':>7}"
    )
    for name in costs:
        bound = f"{_BOUNDS[name]:.1f}" if name in _BOUNDS else ""
        print(
            f"{name:<16}{walls[name] * 1e3:>9.0f}{cpus[name] * 1e3:>9.0f}"
            f"{walls[_OURS] / walls[name]:>15.2f}{cpus[_OURS] / cpus[name]:>14.2f}{bound:>7}"
        )
    missed = [name for name, bound in _BOUNDS.items() if walls[_OURS] > bound * walls[name]]
    for name in missed:
        print(f"above {_BOUNDS[name]} of {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    sys.exit(main(parser.parse_args().rounds))
