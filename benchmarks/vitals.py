"""What processes hold: memory, descriptors and threads, sampled each second."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.breakage import Troupe

_SAMPLE_SECONDS: Final = 1.0
_WARM_UP_SAMPLES: Final = 20
_MEGABYTE: Final = 1_000_000


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


class Vitals:
    """Samples of every worker, by process id."""

    def __init__(self, troupe: Troupe) -> None:
        self._troupe = troupe
        self._samples: defaultdict[int, list[Sample]] = defaultdict(list)

    async def sample(self) -> None:
        """Sample until cancelled."""
        while True:
            for worker in self._troupe.workers:
                self._take(worker.process.pid)
            await asyncio.sleep(_SAMPLE_SECONDS)

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
        port = urlsplit(self._troupe.arena.door.url).port
        found = process.net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == port for one in found)

    def tell(self) -> list[str]:
        """Print what the spared worker held, and the most of any; returns what grew."""
        everything = [sample for samples in self._samples.values() for sample in samples]
        if not everything:
            return ["no worker was sampled"]
        print(f"workers={len(self._samples)} most_mb={max(everything)[0]:.1f}")
        spared = self._samples[self._troupe.spared.process.pid][_WARM_UP_SAMPLES:]
        third = len(spared) // 3
        if not third:
            return ["the spared worker was not sampled long enough"]
        return [
            fault
            for place, name in enumerate(Sample._fields)
            if (fault := _grown(name, place, spared[:third], spared[-third:]))
        ]


def _grown(name: str, place: int, first: Sequence[Sample], last: Sequence[Sample]) -> str:
    middle: Callable[[Sequence[Sample]], float] = lambda some: statistics.median(  # noqa: E731 - used twice, here alone
        sample[place] for sample in some
    )
    before, after = middle(first), middle(last)
    print(f"{name}: first third {before:.1f}, last third {after:.1f}: {after - before:+.1f}")
    grown = after - before > _NOISE[place]
    return f"{name} grew from {before:.1f} to {after:.1f}" if grown else ""
