"""What processes hold: memory, descriptors, threads and asyncio tasks, sampled each second."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import psutil

from harness.programs import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.breakage import Replicas

_SAMPLE_SECONDS: Final = 1.0
_WARM_UP_SECONDS: Final = 20
_MEGABYTE: Final = 1_000_000
_TASKS: Final = re.compile(r"^resolution_(tasks|in_flight) (\S+)$", re.MULTILINE)


class Sample(NamedTuple):
    """What one process held at an instant.

    Attributes:
        descriptors: Without those of connections to AWS, which come and go with the load and are
            bounded by the concurrency.
    """

    megabytes: float
    descriptors: int
    threads: int


# Growth of the median from the first third to the last that may be noise.
_NOISE: Final = Sample(megabytes=4.0, descriptors=3, threads=1)
_TASKS_NOISE: Final = 5.0


def starved_seconds(pid: int | str = "self") -> float:
    """How long a process was ready to run and had no processor; 0 where Linux does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


class Vitals:
    """Samples of every worker, by process id, and of the spared worker's tasks."""

    def __init__(self, replicas: Replicas) -> None:
        self._troupe = replicas
        self._samples: defaultdict[int, list[Sample]] = defaultdict(list)
        self._tasks: list[float] = []
        self._loads: list[float] = []
        self._began = time.monotonic(), starved_seconds()

    async def sample(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample_processes())
            group.create_task(self._sample_tasks())

    async def _sample_processes(self) -> None:
        while True:
            for worker in self._troupe.workers:
                self._take(worker.process.pid)
            self._loads.append(psutil.getloadavg()[0])
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _starved(self) -> float:
        began, starved = self._began
        return (starved_seconds() - starved) / (time.monotonic() - began)

    def _take(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            descriptors = process.num_fds() - self._to_aws(process)
            rss = process.memory_info().rss
            sample = Sample(rss / _MEGABYTE, descriptors, process.num_threads())
        except psutil.Error:
            return  # it has just ended
        self._samples[pid].append(sample)

    def _to_aws(self, process: psutil.Process) -> int:
        port = urlsplit(self._troupe.system.door.url).port
        found = process.net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == port for one in found)

    async def _sample_tasks(self) -> None:
        """Without those that call AWS, of which there are as many as the load asks for."""
        url = f"http://127.0.0.1:{await self._troupe.spared.port()}/metrics"
        while True:
            found = dict(_TASKS.findall((await fetch(url))[1]))
            if found:  # a process that is stopped does not answer in time
                self._tasks.append(float(found["tasks"]) - float(found["in_flight"]))
            await asyncio.sleep(_SAMPLE_SECONDS)

    def tell(self) -> list[str]:
        """Print what the spared worker held, and the most of any; returns what grew."""
        everything = [sample for samples in self._samples.values() for sample in samples]
        if not everything:
            return ["no worker was sampled"]
        print(f"workers={len(self._samples)} most_mb={max(everything)[0]:.1f}")
        print(
            f"load average {statistics.mean(self._loads):.1f}, {max(self._loads):.1f} at most;"
            f" this program had no processor for {self._starved():.0%} of the time"
        )
        spared = self._samples[self._troupe.spared.process.pid]
        grown = [
            _grown(name, _NOISE[place], [sample[place] for sample in spared])
            for place, name in enumerate(Sample._fields)
        ]
        return [fault for fault in (*grown, _grown("tasks", _TASKS_NOISE, self._tasks)) if fault]


def _grown(name: str, noise: float, values: Sequence[float]) -> str:
    warm = values[_WARM_UP_SECONDS:]
    third = len(warm) // 3
    if not third:
        return f"{name} of the spared worker were not sampled long enough"
    before, after = statistics.median(warm[:third]), statistics.median(warm[-third:])
    print(f"{name}: first third {before:.1f}, last third {after:.1f}: {after - before:+.1f}")
    return f"{name} grew from {before:.1f} to {after:.1f}" if after - before > noise else ""
