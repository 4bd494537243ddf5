"""Messages as large as the shipped broker takes, beside buyers: a worker's memory stays bounded."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.quota.figures import Figure, quantile
from tests.neighbours.callers import calling
from tests.neighbours.scenario import scenario
from tests.seeds import seeds
from worker.core.token.incoming import MAX_BODY_BYTES
from worker.core.token.token_rules import MAX_TOKEN_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.ground import Ground
    from harness.programs import Worker

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "resolution.conf"
_LARGEST: Final = int(re.findall(r"(?m)^max_message_size = (\d+)$", _SHIPPED.read_text())[0])
_MOST_MEGABYTES: Final = 200.0
_QUOTA: Final = ("--rate", "10", "--burst", "10", "--latency", "50ms")
_BUYERS_RATE: Final = 2.0
_SECONDS: Final = 40
_SEARCH_SECONDS: Final = 5
_SETTLED_SECONDS: Final = 20.0


def _submission(number: int, source: str, token: str = "") -> dict[str, Any]:
    token = token or f"unknown-{number:06}-{'x' * 40}"
    return {"version": 1, "registration_token": token, "source": source}


def _filled(submission: dict[str, Any], size: int) -> bytes:
    """A submission with ballast in a member that nobody knows, exactly so many bytes long."""
    bare = json.dumps({**submission, "ballast": ""}, ensure_ascii=False).encode()
    return bare.replace(b'"ballast": ""', b'"ballast": "%b"' % (b"b" * (size - len(bare))))


def _many_headers() -> dict[str, Any]:
    """100 KB of headers."""
    return {"headers": {f"h{number:04}": f"{number:030}" for number in range(2_300)}}


def _table_in_ours() -> dict[str, Any]:
    """Headers that are kept, whose values are tables of thousands of entries."""
    entries = {f"{number:x}": None for number in range(1_300)}
    return {"headers": {"traceparent": entries}}


def _none() -> dict[str, Any]:
    return {}


def _astral(number: int) -> str:
    """A token of as many characters as may be, each of four bytes."""
    return f"unknown-{number:06}-".ljust(MAX_TOKEN_CHARS, "\N{GRINNING FACE}")


def _small(number: int, source: str) -> bytes:
    return _filled(_submission(number, source), 300)


def _at_our_limit(number: int, source: str) -> bytes:
    return _filled(_submission(number, source), MAX_BODY_BYTES)


def _at_the_brokers_limit(number: int, source: str) -> bytes:
    return _filled(_submission(number, source), _LARGEST)


def _long_token(number: int, source: str) -> bytes:
    return _filled(_submission(number, source, _astral(number)), MAX_BODY_BYTES)


def _high_water_megabytes(worker: Worker) -> float:
    """The most resident memory that the process ever had."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1_000_000


@dataclass(frozen=True, slots=True)
class Flood:
    """What strangers send.

    Attributes:
        count: How many messages.
        body: The body of each, by its number and its source.
        properties: Further properties of each message.
        sources: How many sources they name.
    """

    count: int
    body: Callable[[int, str], bytes]
    properties: Callable[[], dict[str, Any]] = _none
    sources: int = 1


_FLOODS: Final = {
    "headers": Flood(300, _small, _many_headers),
    "tables under our names": Flood(1_500, _small, _table_in_ours, sources=1_500),
    "our limit": Flood(3_000, _at_our_limit),
    "our limit, a source each": Flood(3_000, _at_our_limit, sources=3_000),
    "the broker's limit": Flood(3_000, _at_the_brokers_limit),
    "the longest tokens": Flood(3_000, _long_token),
}


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize("name", _FLOODS)
async def test_big_messages(ground: Ground, seed: int, name: str) -> None:
    """However large what strangers send, a worker keeps below 200 MB and buyers are served.

    A thousand sources are a thousand buyers, so with those nothing is said of how long buyers wait.
    """
    flood = _FLOODS[name]
    least = 95.0 if flood.sources == 1 else -math.inf

    def bodies() -> Iterator[bytes]:
        for number in range(flood.count):
            yield flood.body(number, f"stranger-{number % flood.sources}")

    def buyer(number: int) -> str:
        return f"buyer-{number}"

    async with (
        scenario(ground, f"{flood.count} big: {name}", seed, *_QUOTA) as on,
        calling(on.stage.web, "strangers", on.chance) as strangers,
    ):
        worker = await on.run()
        await on.buyers.bring(round(_SEARCH_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
        began = _high_water_megabytes(worker)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                on.buyers.bring(round(_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
            )
            group.create_task(strangers.pour(bodies(), **flood.properties()))
        if flood.sources == 1:
            await on.buyers.all_answered(_SETTLED_SECONDS)
        waits = on.buyers.waits()
        in_time = 100 * sum(wait <= 5.0 for wait in waits) / len(waits)
        on.conclude(
            [
                Figure("buyers", len(waits)),
                Figure("within 5 s", in_time, "%", least=least),
                Figure("p50", quantile(waits, 0.5), "s"),
                Figure("p99", quantile(waits, 0.99), "s"),
                Figure("memory before", began, "MB"),
                Figure("memory at most", _high_water_megabytes(worker), "MB", most=_MOST_MEGABYTES),
            ]
        )
