"""What is said of an address that can't be listened on."""

from __future__ import annotations

import errno
import socket

import pytest
from prometheus_client import CollectorRegistry

from worker.adapters.http import PortTaken, refusal, serving
from worker.adapters.local_worker import port_fault


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (PermissionError(errno.EACCES, "x"), "Permission denied", "1024 or more"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "Cannot assign", "an address of this machine"),
        (socket.gaierror(-2, "x"), "can't be resolved", "correct WORKER_HTTP__HOST"),
        (UnicodeError("x"), "can't be resolved", "correct WORKER_HTTP__HOST"),
        (
            OSError(errno.EADDRINUSE, "x"),
            "Address already in use",
            "stop the program that listens there",
        ),
    ],
)
def test_each_reason_has_its_remedy(error: OSError | UnicodeError, what: str, remedy: str) -> None:
    """Only where somebody else listens is he to be ended."""
    said, mended = refusal("h", 80, error)
    assert said.startswith("can't listen on h:80: ")
    assert what in said
    assert remedy in mended


async def test_a_taken_port_is_told_as_such() -> None:
    """What asyncio says of a taken port is understood."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fault = await port_fault("127.0.0.1", port)
    assert fault is not None
    assert refusal("127.0.0.1", port, fault)[1].startswith("stop the program that listens there")


async def test_what_is_no_host_name_is_told_as_such() -> None:
    """A name that can't even be asked for, such as one with two dots, is a fault in words."""
    fault = await port_fault("a..b", 0)
    assert fault is not None
    assert refusal("a..b", 0, fault)[1] == "correct WORKER_HTTP__HOST"
    with pytest.raises(PortTaken, match="can't be resolved"):
        async with serving(
            "a..b", 0, registry=CollectorRegistry(), alive=dict, notes=dict, ready=dict
        ):
            pass
