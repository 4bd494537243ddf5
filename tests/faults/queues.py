"""A topology that is not quite as it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.adapters.rabbitmq.topology import Topology


def with_arguments(planned: Topology, name: str, **arguments: int) -> Topology:
    """The topology with other arguments for one queue; `max_length` stands for `x-max-length`."""
    spelt = {f"x-{argument.replace('_', '-')}": value for argument, value in arguments.items()}
    queues = tuple(
        replace(queue, arguments={**queue.arguments, **spelt}) if queue.name == name else queue
        for queue in planned.queues
    )
    return replace(planned, queues=queues)
