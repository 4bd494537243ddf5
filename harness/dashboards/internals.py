"""The dashboard *Internals*."""

from __future__ import annotations

from typing import Final

from harness.dashboards.model import (
    GREEN,
    RED,
    YELLOW,
    Board,
    Query,
    Row,
    lines,
    quantiles,
    states,
    table,
)

_REPLICAS: Final = Row(
    "Replicas",
    [
        states(
            "Ready, by replica",
            "A gap: it could not be scraped.",
            Query("max by (instance) (resolution_ready{REPLICAS})", "{{instance}}"),
            names={0: ("not ready", RED), 1: ("ready", GREEN)},
            steps={0: RED, 1: GREEN},
            runbooks=["ResolutionReplicaUnready", "ResolutionWorkerDown"],
        ),
        lines(
            "In hand, by lane",
            "Delivered by the broker, and not settled yet.",
            Query("sum by (lane) (resolution_unacked{REPLICAS})", "{{lane}}"),
        ),
        table(
            "Builds",
            "Two versions: a roll-out is under way.",
            "max by (instance, version, python) (resolution_build_info{REPLICAS})",
        ),
    ],
)


_LOOP: Final = Row(
    "Process",
    [
        lines(
            "Event loop's lateness",
            "How late the loop comes to what is due; beyond 0.1 s it is overloaded or blocked.",
            *quantiles("resolution_loop_lag_seconds", "REPLICAS", 0.5, 0.99),
            unit="s",
            steps={0: GREEN, 0.1: YELLOW},
        ),
        lines(
            "CPU, by replica",
            "Cores; one is the most that a process can use.",
            Query("rate(process_cpu_seconds_total{REPLICAS}[RATE])", "{{instance}}"),
            steps={0: GREEN, 0.9: YELLOW},
        ),
        lines(
            "Memory, by replica",
            "Below 200 MB, whatever is published.",
            Query("process_resident_memory_bytes{REPLICAS}", "{{instance}}"),
            unit="bytes",
            steps={0: GREEN, 200e6: YELLOW},
        ),
        lines(
            "Open files, by replica",
            "Of those that the process may have.",
            Query("process_open_fds{REPLICAS} / process_max_fds{REPLICAS}", "{{instance}}"),
            unit="percentunit",
        ),
        lines(
            "Tasks, by replica",
            "asyncio's; they follow what is in hand.",
            Query("resolution_tasks{REPLICAS}", "{{instance}}"),
        ),
        lines(
            "Age of processes",
            "Back to 0 again and again: a crash loop.",
            Query("time() - process_start_time_seconds{REPLICAS}", "{{instance}}"),
            unit="s",
            runbooks=["ResolutionCrashLoop"],
        ),
    ],
)


_CONNECTIONS: Final = Row(
    "Connections, clock and secrets",
    [
        lines(
            "Connections opened, by link",
            "In ten minutes; without starts of processes these are reconnects.",
            Query(
                "sum by (link) (increase(resolution_connections_total{REPLICAS}[10m]))",
                "{{link}}",
            ),
            runbooks=["ResolutionBrokerUnavailable", "ResolutionLedgerUnavailable"],
        ),
        lines(
            "Clock, by replica",
            "Ahead of the database's, or behind.",
            Query("abs(resolution_clock_skew_seconds{REPLICAS})", "{{instance}}"),
            unit="s",
            steps={0: GREEN, 5: YELLOW},
            runbooks=["ResolutionClockSkew"],
        ),
        lines(
            "Secrets in use whose file is bad",
            "Their last valid value is used; `secrets_kept` in the log names the files.",
            Query("max by (instance) (resolution_secrets_kept{REPLICAS})", "{{instance}}"),
            steps={0: GREEN, 1: YELLOW},
            runbooks=["ResolutionSecretsStale"],
        ),
    ],
)


_ROWS: Final = "resolution_write_batch_rows"
_LEDGER: Final = Row(
    "Ledger",
    [
        lines(
            "Rows committed, and batches",
            "The fuller the batches, the cheaper each row.",
            Query(f"sum(rate({_ROWS}_sum{{REPLICAS}}[RATE]))", "rows"),
            Query(f"sum(rate({_ROWS}_count{{REPLICAS}}[RATE]))", "batches"),
            unit="cps",
        ),
        lines(
            "Rows in a batch",
            "Batches grow by themselves where the database is slow.",
            *quantiles(_ROWS, "REPLICAS", 0.5, 0.95),
        ),
        lines(
            "Duration of a batch's transaction",
            "A slow database keeps buyers waiting.",
            *quantiles("resolution_write_duration_seconds", "REPLICAS", 0.5, 0.95, 0.99),
            unit="s",
        ),
        lines(
            "Rows that retention has treated, by action",
            "Shredded, archived or deleted in an hour.",
            Query(
                "sum by (action) (increase(resolution_retention_rows_total{REPLICAS}[1h]))",
                "{{action}}",
            ),
            width=12,
        ),
        lines(
            "Since a round of retention last succeeded",
            "Of the replica that did so last.",
            Query(
                "time() - max(resolution_retention_last_round_timestamp_seconds{FLEET})",
                "last round",
            ),
            unit="s",
            runbooks=["ResolutionRetentionStalled"],
            width=12,
        ),
    ],
)


BOARD: Final = Board(
    name="internals",
    title="Internals",
    words="Processes, connections and the ledger, replica by replica.",
    rows=[_REPLICAS, _LOOP, _CONNECTIONS, _LEDGER],
)
