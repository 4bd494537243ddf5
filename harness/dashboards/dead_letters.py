"""The dashboard *Dead letters for on-call*."""

from __future__ import annotations

from typing import Final

from harness.dashboards.model import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    Board,
    Query,
    Row,
    lines,
    stat,
    text,
)

_WHAT_TO_DO: Final = """\
1. `resolution-worker dead-letters groups`: what failed, what can be saved, how, and for how long.
2. `dead-letters show ID`: one of them.
3. Once the cause is gone: `dead-letters replay --group GROUP --canary 5 --reason TEXT`.
4. What can't be saved: `dead-letters discard --group GROUP --reason TEXT`.

They need `WORKER_POSTGRES__DSN` of `resolution_operator`; a replay also broker and opening key.
"""


# Most of what AWS has rejected were made-up tokens: they hurry nobody, and colour nothing.
_OURS: Final = 'FLEET, reason=~"dead|parked"'
_NOW: Final = Row(
    "Now",
    [
        stat(
            "Dead or parked, open",
            "Dead letters of buyers: their tokens failed through no fault of their own.",
            f"sum(max by (reason) (resolution_dead_letters{{{_OURS}}}))",
            steps={0: GREEN, 1: YELLOW},
            none="database away",
            runbooks=["ResolutionDeadLettersRedeemable"],
        ),
        stat(
            "The first of them expires in",
            "Of the dead or parked. Then its buyer must begin again at AWS Marketplace.",
            f"min(resolution_dead_letters_first_expiry_seconds{{{_OURS}}}) < Inf",
            unit="s",
            steps={0: RED, 3600: YELLOW, 10800: GREEN},
            none="none",
            runbooks=["ResolutionDeadLettersExpire"],
            width=8,
        ),
        stat(
            "Can still be redeemed",
            "Open dead letters of any reason: many rejected ones are junk. By reason: below.",
            "max(resolution_dead_letters_redeemable{FLEET})",
            steps={0: BLUE},
            none="database away",
        ),
        stat(
            "Lost in the time shown",
            "Tokens that are dead, were parked by the broker, or outlived while they waited.",
            "sum(increase(resolution_tokens_lost_total{FLEET}[$__range]))",
            steps={0: GREEN, 1: RED},
            none="no worker",
            runbooks=["ResolutionTokensLost"],
        ),
        stat(
            "Queues lost",
            "Queues that went missing with what was in them, not yet acknowledged.",
            "max(resolution_queues_lost{FLEET})",
            steps={0: GREEN, 1: RED},
            none="database away",
            runbooks=["ResolutionQueueLost"],
        ),
        text("What to do", _WHAT_TO_DO, width=24, height=6),
    ],
)


_LETTERS: Final = Row(
    "Dead letters",
    [
        lines(
            "Open, by reason",
            "A gap: the database can't be reached.",
            Query("max by (reason) (resolution_dead_letters{FLEET})", "{{reason}}"),
            Query("max(resolution_dead_letters_redeemable{FLEET})", "can still be redeemed"),
            runbooks=["ResolutionDeadLettersRedeemable"],
            width=6,
        ),
        lines(
            "Time left to save the first, by reason",
            "Four hours where there is none.",
            Query(
                "min by (reason) (clamp_max("
                "resolution_dead_letters_first_expiry_seconds{FLEET}, 14400))",
                "{{reason}}",
            ),
            unit="s",
            steps={0: RED, 3600: GREEN},
            runbooks=["ResolutionDeadLettersExpire"],
            width=6,
        ),
        lines(
            "Not resolved, by status",
            "Of all lanes; repeats left out.",
            Query(
                'sum by (status) (rate(resolution_outcomes_total{FLEET, status!="resolved", '
                'repeated="false"}[RATE]))',
                "{{status}}",
            ),
            unit="cps",
            width=6,
        ),
        lines(
            "Lost to us, by how",
            "Outlived: they waited with us until they were too old, in a long outage say.",
            Query("sum by (how) (rate(resolution_tokens_lost_total{FLEET}[RATE]))", "{{how}}"),
            unit="cps",
            runbooks=["ResolutionTokensLost"],
            width=6,
        ),
    ],
)


_TURNED_AWAY: Final = (
    'sum(increase(resolution_outcomes_total{FLEET, lane="live", '
    'status=~"rejected|malformed", repeated="false"}[1h]))'
)
_SETTLED: Final = (
    'sum(increase(resolution_outcomes_total{FLEET, lane="live", repeated="false"}[1h]))'
)
_STRANGERS: Final = Row(
    "What others send, and what their queues refuse",
    [
        lines(
            "Turned away, of the live lane, last hour",
            "Rejected or malformed. Nearly all: look for a wrong seller account; many: junk.",
            Query(f"{_TURNED_AWAY} / ({_SETTLED} > 0)", "turned away"),
            unit="percentunit",
            runbooks=["ResolutionAllRejected", "ResolutionJunk"],
        ),
        lines(
            "Ignored in messages, by member",
            "What publishers should not send; docs/protocol.md says what they should.",
            Query("sum by (member) (rate(resolution_oddities_total{FLEET}[RATE]))", "{{member}}"),
            unit="cps",
            runbooks=["ResolutionRepliesUnroutable", "ResolutionMessagesExpire"],
        ),
        lines(
            "Events that wait for an observer",
            "Its queue refuses them: see who consumes it. They are kept for a day.",
            Query("max(resolution_outbox_events{FLEET})", "events"),
            runbooks=["ResolutionEventsWait"],
        ),
        lines(
            "Rows that the database refused",
            "A constraint or trigger of yours; the buyer was told all the same.",
            Query(
                "sum by (kept_as) (rate(resolution_rows_refused_total{FLEET}[RATE]))",
                "{{kept_as}}",
            ),
            unit="cps",
            runbooks=["ResolutionRowsRefused"],
        ),
        lines(
            "Handled in small groups",
            "Messages that may have ended a process that held them.",
            Query("sum(resolution_suspected_messages{FLEET})", "messages"),
            runbooks=["ResolutionCrashLoop"],
        ),
        lines(
            "Answers dropped, by kind",
            "Replies after five seconds, events after a day.",
            Query(
                "sum by (kind) (increase(resolution_answers_dropped_total{FLEET}[1h]))",
                "{{kind}}",
            ),
            runbooks=["ResolutionAnswersDropped"],
        ),
    ],
)


BOARD: Final = Board(
    name="dead-letters",
    title="Dead letters for on-call",
    words="What failed, what can still be saved, and for how long.",
    rows=[_NOW, _LETTERS, _STRANGERS],
)
