"""What the log says of readiness."""

from __future__ import annotations

import structlog

from worker.app.readiness_log import ReadinessLog


def test_each_change_is_told_once_with_how_long_it_was_otherwise() -> None:
    """The start, an outage, and its end; and nothing while all stays as it is."""
    now, faults = 0.0, {"ledger": "not up yet"}
    with structlog.testing.capture_logs() as logs:
        readiness = ReadinessLog(lambda: faults, lambda: now)
        for now, faults in (  # noqa: B007 - they are read
            (1.0, {"ledger": "not up yet"}),
            (2.0, {}),
            (60.0, {}),
            (62.0, {"ledger": "it is down", "fleet": "no lease"}),
            (70.0, {"ledger": "it is down"}),
            (92.5, {}),
        ):
            readiness.look()
    assert logs == [
        {"event": "became_ready", "log_level": "info", "unready_seconds": 2.0},
        {
            "event": "became_unready",
            "log_level": "warning",
            "ready_seconds": 60.0,
            "parts": ["fleet", "ledger"],
        },
        {"event": "became_ready", "log_level": "info", "unready_seconds": 30.5},
    ]
