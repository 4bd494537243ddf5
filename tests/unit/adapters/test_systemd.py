"""What systemd is told, through real sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from harness.service_manager import listening_manager
from worker.adapters.systemd import ServiceManager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_arrive_at_a_path_and_at_an_abstract_socket(
    tmp_path: Path, *, abstract: bool
) -> None:
    """A datagram carries all lines that are told at once, wherever systemd listens."""
    with listening_manager(None if abstract else tmp_path) as systemd:
        manager = ServiceManager.of({"NOTIFY_SOCKET": systemd.address})
        assert manager.listens
        assert manager.tell("READY=1", "STATUS=Ready: größer")
        manager.close()
        assert systemd.heard == ["READY=1", "STATUS=Ready: größer"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}])
def test_without_a_socket_nothing_is_told(environment: dict[str, str]) -> None:
    """Outside systemd there is nobody to tell, and no watchdog to feed."""
    with capture_logs() as logged:
        manager = ServiceManager.of(environment)
        assert not manager.listens
        assert not manager.tell("READY=1")
        assert manager.watchdog_seconds is None
        manager.close()
    assert logged == []


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_as_systemd_says(variables: dict[str, str], seconds: float | None) -> None:
    """How long systemd bears silence is read from its variables, if they are meant for us."""
    manager = ServiceManager.of({"NOTIFY_SOCKET": "/nowhere", **variables})
    manager.close()
    assert manager.watchdog_seconds == seconds


def test_programs_that_the_worker_starts_are_not_the_service() -> None:
    """The variables of systemd are gone from the environment once they are read."""
    environment = {
        "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "PATH": "/bin",
    }
    ServiceManager.of(environment).close()
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "address", ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1", "/a\0b"]
)
def test_a_socket_that_does_not_work_is_logged_once(address: str) -> None:
    """A wrong address stops nothing, and is one line in the log."""
    with capture_logs() as logged:
        manager = ServiceManager.of({"NOTIFY_SOCKET": address})
        assert not manager.tell("READY=1")
        assert not manager.tell("READY=1")
        manager.close()
    assert [line["event"] for line in logged] == ["systemd_not_reached"]


def test_a_service_manager_that_is_behind_holds_nothing_up(tmp_path: Path) -> None:
    """Lines that find its queue full are not sent, and nobody waits for room."""
    with listening_manager(tmp_path) as systemd, capture_logs() as logged:
        manager = ServiceManager.of({"NOTIFY_SOCKET": systemd.address})
        sent = 0
        while manager.tell("WATCHDOG=1"):
            sent += 1
            assert sent < 100_000
        assert systemd.count("WATCHDOG=1") == sent
        assert manager.tell("WATCHDOG=1")
        manager.close()
    assert logged == []


def test_the_socket_is_not_inherited() -> None:
    """No program that the worker starts can speak through its socket."""
    manager = ServiceManager.of({"NOTIFY_SOCKET": "/nowhere"})
    assert isinstance(manager._socket, socket.socket)
    assert not os.get_inheritable(manager._socket.fileno())
    manager.close()
