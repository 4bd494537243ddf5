"""How much one network may ask of us. A flood from one keeps nobody else out."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST: Final = 20
PER_SECOND: Final = 1.0
MOST_NETWORKS: Final = 10_000
MOST_STREAMS: Final = 1_000
MOST_STREAMS_OF_A_NETWORK: Final = 100


class Buckets:
    """A token bucket for each network: so many posts at once, and one more each second.

    It is in memory, so each process counts for itself; threads may share it. Beyond `most` networks
    the one that was quiet for longest is forgotten: most likely its bucket was full again.
    """

    def __init__(
        self, burst: int = BURST, per_second: float = PER_SECOND, most: int = MOST_NETWORKS
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def seconds_to_wait(self, network: str, now: float) -> float:
        """0 if this network may post now, which is then counted; else after how many seconds."""
        with self._lock:
            left, at = self._left.pop(network, (float(self._burst), now))
            left = min(self._burst, left + (now - at) * self._per_second)
            wait = 0.0 if left >= 1 else (1 - left) / self._per_second
            self._left[network] = (left if wait else left - 1, now)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
            return wait


class Streams:
    """Counts the open streams, of all and of each network."""

    def __init__(
        self, most: int = MOST_STREAMS, most_of_a_network: int = MOST_STREAMS_OF_A_NETWORK
    ) -> None:
        self._most = most
        self._most_of_a_network = most_of_a_network
        self._open: Counter[str] = Counter()

    def full(self, network: str) -> bool:
        """Whether this network can't have another stream now."""
        return self._open.total() >= self._most or self._open[network] >= self._most_of_a_network

    @contextmanager
    def one(self, network: str) -> Iterator[None]:
        """A stream, until the block ends."""
        self._open[network] += 1
        try:
            yield
        finally:
            self._open[network] -= 1
            if not self._open[network]:
                del self._open[network]
