"""Whether the name of a host can be resolved, as the first step to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters import reach
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed
from worker.settings import addresses

if TYPE_CHECKING:
    from collections.abc import Sequence


async def resolved(hosts: Sequence[str], setting: str) -> None:
    """At least one of the hosts is known to the name service, or needs none.

    Raises:
        Failed: None is.
    """
    fault = ""
    for host in hosts:
        if addresses.is_local(host):
            return
        try:
            await reach.lookup(host, STEP_SECONDS / len(hosts))
        except reach.UnknownName as error:
            fault = str(error)
        else:
            return
    raise Failed(
        fault, f"correct the host name in {setting}, or the name service", Cause.UNREACHABLE
    )
