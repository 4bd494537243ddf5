"""The dashboard *Is the buyer answered?*, which Grafana opens with."""

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

_LIVE: Final = 'FLEET, lane="live"'
_WAIT: Final = "resolution_resolved_wait_seconds"

_OPEN: Final = "max(resolution_breaker_open{FLEET})"
# While the database is away nobody knows of a pause.
_PAUSED: Final = f"max(resolution_paused{{FLEET}}) or 0 * {_OPEN}"
# A replica that can't work anyway has no calls to stop: it does not speak for the others.
_STOPPED: Final = (
    f"{_OPEN} unless max(resolution_ready{{FLEET}} == 1 and resolution_breaker_open{{FLEET}} == 0) "
    f"or 0 * {_OPEN}"
)


def _within(span: str) -> str:
    """The share of buyers who were answered within 30 s, in a span of time, as the alerts have it.

    Of those whose token a call has resolved: whoever sends made-up tokens changes nothing.
    """
    early = f'sum(increase({_WAIT}_bucket{{{_LIVE}, le="30.0"}}[{span}]))'
    came = f"sum(increase({_WAIT}_count{{{_LIVE}}}[{span}]))"
    return f"clamp_max({early} / ({came} > 0), 1)"


def _not_lost(span: str) -> str:
    """The share of tokens that were resolved, of these and the lost, in a span of time."""
    labels = 'FLEET, status="resolved", repeated="false"'
    resolved = f"sum(increase(resolution_outcomes_total{{{labels}}}[{span}]))"
    lost = f"sum(increase(resolution_tokens_lost_total{{FLEET}}[{span}]))"
    return f"1 - {lost} / ({resolved} + {lost} > 0)"


_AT_A_GLANCE: Final = Row(
    "Now",
    [
        stat(
            "Answered within 30 s",
            "Of the buyers whose tokens were resolved in the time shown. Promised: 99 %.",
            _within("$__range"),
            unit="percentunit",
            steps={0: RED, 0.95: YELLOW, 0.99: GREEN},
            none="no buyers",
            runbooks=["ResolutionBuyersWait", "ResolutionObjectiveSlow"],
        ),
        stat(
            "Tokens not lost",
            "In the time shown: resolved, of these and the lost (dead, parked, outlived).",
            _not_lost("$__range"),
            unit="percentunit",
            steps={0: RED, 0.99: YELLOW, 0.999: GREEN},
            none="no tokens",
            runbooks=["ResolutionTokensLost"],
        ),
        stat(
            "Calls to AWS",
            "Stopped: AWS refuses all replicas, or is down; `status` says why.",
            f"clamp_max(({_PAUSED}) + 2 * ({_STOPPED}), 2)",
            steps={0: GREEN, 1: YELLOW, 2: RED},
            names={0: ("made", GREEN), 1: ("paused", YELLOW), 2: ("stopped", RED)},
            none="no worker",
            runbooks=["ResolutionCallsStopped", "ResolutionPauseForgotten"],
        ),
        stat(
            "Replicas able to work",
            "Ready; `/readyz` of the others says what prevents them.",
            "sum(resolution_ready{FLEET})",
            steps={0: RED, 1: YELLOW, 2: GREEN},
            none="no worker",
            runbooks=["ResolutionNoWorker", "ResolutionUnready", "ResolutionReplicaUnready"],
        ),
        stat(
            "Buyers waiting",
            "Live tokens that are not settled: in the queue, and in the hands of workers.",
            'max(resolution_queue_messages{FLEET, queue="resolution.tokens"}) '
            '+ sum(resolution_unacked{FLEET, lane="live"})',
            steps={0: GREEN, 100: YELLOW, 1000: RED},
            none="broker away",
            runbooks=["ResolutionQueueGrows"],
        ),
        stat(
            "Longest in hand",
            "How long a worker has had the oldest live token; no sender can forge it.",
            'max(resolution_longest_in_hand_seconds{FLEET, lane="live"})',
            unit="s",
            steps={0: GREEN, 30: YELLOW, 120: RED},
            none="no worker",
            runbooks=["ResolutionBuyerStuck"],
        ),
    ],
)


_WAITS: Final = Row(
    "How long they wait",
    [
        lines(
            "Buyers' wait",
            "From the buyer's arrival to the answer, if the token was resolved. Dashed: 30 s.",
            *quantiles(_WAIT, _LIVE, 0.5, 0.95, 0.99),
            unit="s",
            steps={0: GREEN, 30: RED},
            runbooks=["ResolutionBuyersWait"],
            width=12,
        ),
        lines(
            "Answered within 30 s, last hour",
            "A gap: no buyer came within an hour.",
            Query(_within("1h"), "within 30 s"),
            unit="percentunit",
            steps={0: RED, 0.99: GREEN},
            width=6,
        ),
        lines(
            "Longest in hand, by lane",
            "Backlog and crowd may wait for minutes: buyers go first.",
            Query("max by (lane) (resolution_longest_in_hand_seconds{FLEET})", "{{lane}}"),
            unit="s",
            width=6,
        ),
    ],
)


_ANSWERS: Final = Row(
    "What they are told",
    [
        lines(
            "Answers to buyers, by status",
            "Rejected alone, and none resolved: look for a wrong seller account.",
            Query(
                f"sum by (status) (rate(resolution_outcomes_total{{{_LIVE}}}[RATE]))",
                "{{status}}",
            ),
            unit="cps",
            runbooks=["ResolutionAllRejected"],
        ),
        lines(
            "Tokens that come, by lane",
            "Settled or moved on.",
            Query("sum by (lane) (rate(resolution_submissions_total{FLEET}[RATE]))", "{{lane}}"),
            unit="cps",
        ),
        lines(
            "Answers that reach nobody",
            "No queue was bound for the reply, or a queue refused the answer.",
            Query(
                'sum(rate(resolution_oddities_total{FLEET, member="reply_unroutable"}[RATE]))',
                "no queue bound",
            ),
            Query(
                "sum by (kind) (rate(resolution_answers_dropped_total{FLEET}[RATE]))",
                "{{kind}} dropped",
            ),
            Query(
                "sum by (kind) (rate(resolution_answers_refused_total{FLEET}[RATE]))",
                "{{kind}} refused, to be tried again",
            ),
            unit="cps",
            runbooks=["ResolutionRepliesUnroutable", "ResolutionAnswersDropped"],
        ),
    ],
)


_CAUSES: Final = Row(
    "If not, why",
    [
        states(
            "What keeps replicas from working",
            "Red while at least one replica has a fault of this part.",
            Query("max by (part) (resolution_fault{FLEET})", "{{part}}"),
            names={0: ("well", GREEN), 1: ("fault", RED)},
            steps={0: GREEN, 1: RED},
            runbooks=[
                "ResolutionLedgerUnavailable",
                "ResolutionBrokerUnavailable",
                "ResolutionClockSkew",
            ],
            width=12,
        ),
        lines(
            "Messages waiting, by queue",
            "A gap: the broker can't be reached.",
            Query("max by (queue) (resolution_queue_messages{FLEET})", "{{queue}}"),
            runbooks=["ResolutionQueueGrows", "ResolutionQueueLost"],
            width=12,
        ),
    ],
)


BOARD: Final = Board(
    name="buyers",
    title="Is the buyer answered?",
    words="Whether buyers are answered in time, and if not, why.",
    rows=[_AT_A_GLANCE, _WAITS, _ANSWERS, _CAUSES],
)
