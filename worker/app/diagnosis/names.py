"""Checks that a host's name can be resolved, before connecting to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters import reach
from worker.app.diagnosis.examination import STEP_SECONDS
from worker.app.diagnosis.finding import Cause, Failed
from worker.core.addresses.text import is_local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.addresses.text import Host


async def resolved(hosts: Sequence[Host], setting: str) -> None:
    """Check that at least one of the hosts is local or can be resolved.

    Raises:
        Failed: None of them can be resolved.
    """
    fault = ""
    for host, _ in hosts:
        if is_local(host):
            return
        try:
            await reach.lookup(host, STEP_SECONDS / len(hosts))
        except reach.UnknownName as error:
            fault = str(error)
        else:
            return
    raise Failed(fault, f"correct the host name in {setting}, or check DNS", Cause.UNREACHABLE)
