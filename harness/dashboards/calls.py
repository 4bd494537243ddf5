"""The dashboard *Calls and pace*."""

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
    stat,
    states,
)

_MADE: Final = "sum(rate(resolution_aws_calls_total{FLEET}[RATE]))"
_THROTTLED: Final = 'sum(rate(resolution_aws_calls_total{FLEET, result="throttled"}[RATE]))'
_NOW: Final = Row(
    "Now",
    [
        stat(
            "Allowed calls",
            "A second, all replicas together: AWS's quota as far as found, or the ceiling.",
            'max(resolution_rate_per_second{FLEET, scope="shared"})',
            unit="cps",
            none="database away",
        ),
        stat("Calls made", "A second, of all replicas together.", _MADE, unit="cps"),
        stat(
            "Throttled",
            "Of the calls; about one in a hundred is how the quota is found.",
            f"{_THROTTLED} / ({_MADE} > 0)",
            unit="percentunit",
            steps={0: GREEN, 0.05: YELLOW, 0.25: RED},
            none="no calls",
        ),
        stat(
            "Replicas wanted",
            "For which there is work; `status --capacity` says what binds.",
            "max(resolution_wanted_replicas{FLEET})",
            none="not known",
        ),
        stat(
            "Replicas that AWS refuses",
            "All of them: calls are stopped. One alone takes no messages.",
            "sum(resolution_breaker_open{FLEET})",
            steps={0: GREEN, 1: RED},
            none="no worker",
            runbooks=["ResolutionCallsStopped", "ResolutionReplicaRefused"],
        ),
        stat(
            "Paused for",
            "By an operator; `status` says who has paused calls, and why.",
            "max(resolution_pause_seconds{FLEET})",
            unit="s",
            steps={0: GREEN, 1: YELLOW, 3600: RED},
            none="database away",
            runbooks=["ResolutionPauseForgotten"],
        ),
    ],
)


_PACE: Final = Row(
    "Pace",
    [
        lines(
            "Allowed and made",
            "Where made is allowed, the quota or ceiling binds; more replicas don't help.",
            Query('max(resolution_rate_per_second{FLEET, scope="shared"})', "allowed"),
            Query(
                'sum(resolution_rate_per_second{FLEET, scope="local"})',
                "allowed now, by replicas",
            ),
            Query(_MADE, "made"),
            unit="cps",
            width=12,
        ),
        lines(
            "Share of each replica",
            "What a replica does not need goes to the others.",
            Query('resolution_rate_per_second{REPLICAS, scope="local"}', "{{instance}}"),
            unit="cps",
            width=6,
        ),
        lines(
            "Replicas",
            "Wanted: for so many there is work.",
            Query("max(resolution_wanted_replicas{FLEET})", "wanted"),
            Query("sum(up{FLEET})", "up"),
            Query("sum(resolution_ready{FLEET})", "ready"),
            width=6,
        ),
    ],
)


_CALLS: Final = Row(
    "Calls",
    [
        lines(
            "Calls by result",
            "token: AWS does not know it, or it expired. systemic: AWS refuses us.",
            Query(
                "sum by (result) (rate(resolution_aws_calls_total{REPLICAS}[RATE]))",
                "{{result}}",
            ),
            unit="cps",
        ),
        lines(
            "Duration of calls",
            "A slow AWS takes slots: see calls in flight.",
            *quantiles("resolution_aws_call_duration_seconds", "REPLICAS", 0.5, 0.95, 0.99),
            unit="s",
        ),
        lines(
            "Calls in flight, by replica",
            "At most WORKER_POOL__CONCURRENCY each.",
            Query("resolution_in_flight{REPLICAS}", "{{instance}}"),
        ),
        lines(
            "To be called again, by reason",
            "Throttled calls use up no attempt.",
            Query("sum by (reason) (rate(resolution_retries_total{REPLICAS}[RATE]))", "{{reason}}"),
            unit="cps",
        ),
        states(
            "Calls stopped, by replica",
            "Red while AWS refuses this replica, or is down.",
            Query("max by (instance) (resolution_breaker_open{REPLICAS})", "{{instance}}"),
            names={0: ("made", GREEN), 1: ("stopped", RED)},
            steps={0: GREEN, 1: RED},
            runbooks=["ResolutionCallsStopped"],
        ),
        states(
            "Refused alone, by replica",
            "Red while AWS refuses this replica and accepts others: it takes no messages.",
            Query("max by (instance) (resolution_refused_alone{REPLICAS})", "{{instance}}"),
            names={0: ("no", GREEN), 1: ("refused", RED)},
            steps={0: GREEN, 1: RED},
            runbooks=["ResolutionReplicaRefused"],
        ),
    ],
)


BOARD: Final = Board(
    name="calls",
    title="Calls and pace",
    words="What AWS says to our calls, how many are allowed, and what binds.",
    rows=[_NOW, _PACE, _CALLS],
)
