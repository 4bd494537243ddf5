"""When each alert fires, and when it must not."""

from __future__ import annotations

from tests.acceptance.deploy.alert_rules import Case, Fires, Silent, both

B = {"instance": "b"}
OUTCOMES = "resolution_outcomes_total"
WAITS = "resolution_resolved_wait_seconds"
TURNED_AWAY = f'{OUTCOMES}{{status="rejected", lane="live", repeated="false"}}'
RESOLVED = f'{OUTCOMES}{{status="resolved", lane="live", repeated="false"}}'
DEAD = 'resolution_tokens_lost_total{how="dead"}'
PARKED = 'resolution_tokens_lost_total{how="parked"}'
IN_TIME = f'{WAITS}_bucket{{lane="live", le="30.0"}}'
ANSWERED = f'{WAITS}_count{{lane="live"}}'
CROWD = f'{OUTCOMES}{{status="rejected", lane="crowd", repeated="false"}}'
BY_WAITS = {"objective": "buyers answered within 30 s"}
BY_LOSS = {"objective": "tokens not lost"}
NO_LOSS = {DEAD: "0x9999"}
EXPIRY = "resolution_dead_letters_first_expiry_seconds"
IN_HAND = 'resolution_longest_in_hand_seconds{lane="live"}'
QUEUE = "resolution_queue_messages"

WELL = Case(
    "all is well, with a little of what is no fault",
    {
        **both("up", "1x240"),
        **both("resolution_ready", "1x240"),
        **both("resolution_breaker_open", "0x240"),
        **both("resolution_refused_alone", "0x240"),
        **both("resolution_paused", "0x240"),
        **both("resolution_pause_seconds", "0x240"),
        **both("resolution_pause_until_timestamp_seconds", "0x240"),
        **both("resolution_queues_lost", "0x240"),
        **both("process_start_time_seconds", "1000x240"),
        **both("resolution_clock_skew_seconds", "-0.3x240"),
        **both("resolution_secrets_kept", "0x240"),
        **both("resolution_outbox_events", "0x40 50x20 0x180"),
        **both("resolution_retention_last_round_timestamp_seconds", "0+15x240"),
        **both('resolution_fault{part="ledger"}', "0x240"),
        **both('resolution_fault{part="consuming"}', "0x240"),
        **both('resolution_fault{part="publishing"}', "0x240"),
        **both('resolution_fault{part="topology"}', "0x240"),
        **both(IN_HAND, "28x240"),
        # A stranger may have written a time of last year into a submission.
        **both('resolution_oldest_unsettled_seconds{lane="live"}', "31536000x240"),
        **both(f'{QUEUE}{{queue="resolution.tokens"}}', "0+1x240"),
        # 997 of 1000 in time; one rejected beside three resolved; a reply in 50 finds no queue.
        ANSWERED: "0+1000x240",
        IN_TIME: "0+997x240",
        RESOLVED: "0+750x240",
        TURNED_AWAY: "0+249x240",
        DEAD: "0+0.1x240",
        PARKED: "0x240",
        'resolution_oddities_total{member="reply_unroutable"}': "0+20x240",
        'resolution_oddities_total{member="expiration"}': "3x240",
        'resolution_oddities_total{member="overflow"}': "0x240",
        'resolution_answers_dropped_total{kind="reply"}': "7x240",
        'resolution_rows_refused_total{kept_as="reduced"}': "3x240",
        f'{EXPIRY}{{reason="dead"}}': "Inf+0x240",
        f'{EXPIRY}{{reason="rejected"}}': "60x240",
    },
    (),
)

OUTAGES = (
    Case(
        "production's workers go from service discovery, and staging's are well",
        {
            "up": "1x20 _x120",
            'up{environment="staging"}': "1x140",
        },
        (
            Silent("ResolutionNoWorker", "5m"),
            Fires("ResolutionNoWorker", "12m", "1"),
            Fires("ResolutionNoWorker", "30m", "1"),
        ),
    ),
    Case(
        "production's workers are gone for days",
        {"up": "1x2 _x300", 'up{environment="staging"}': "1x303"},
        (Fires("ResolutionNoWorker", "6d", "1"),),
        every="30m",
    ),
    Case(
        "all workers are down, then one is back",
        {"up": "1x10 0x10 1x10", 'up{instance="b"}': "1x10 0x20"},
        (
            Silent("ResolutionNoWorker", "2m 3m 7m"),
            Fires("ResolutionNoWorker", "5m"),
            Silent("ResolutionWorkerDown", "4m"),
            Fires("ResolutionWorkerDown", "7m", labels=B),
        ),
    ),
    Case(
        "there never was a worker, not even a target",
        {'up{job="prometheus"}': "1x40"},
        (
            Silent("ResolutionNoWorker", "30s"),
            Fires("ResolutionNoWorker", "5m", labels={"environment": "", "cluster": ""}),
        ),
    ),
    Case(
        "the clocks of both replicas are off: no alert of its own says that none works",
        both("resolution_ready", "1x4 0x30"),
        (
            Silent("ResolutionUnready", "2m"),
            Fires("ResolutionUnready", "4m"),
            Silent("ResolutionReplicaUnready", "4m"),
        ),
    ),
    Case(
        "one of two replicas has been without the database for long",
        {
            'resolution_fault{part="ledger"}': "0x40",
            'resolution_fault{part="ledger", instance="b"}': "1x40",
            "resolution_ready": "1x40",
            'resolution_ready{instance="b"}': "0x40",
        },
        (
            Silent("ResolutionLedgerUnavailable", "9m"),
            Silent("ResolutionUnready", "9m"),
            Silent("ResolutionReplicaUnready", "4m"),
            Fires("ResolutionReplicaUnready", "6m", labels=B),
        ),
    ),
    Case(
        "no replica has the database",
        both('resolution_fault{part="ledger"}', "0x4 1x20 0x10"),
        (
            Silent("ResolutionLedgerUnavailable", "1m45s 7m"),
            Fires("ResolutionLedgerUnavailable", "3m"),
        ),
    ),
    Case(
        "one replica does not consume, the other does not publish; elsewhere one does both",
        {
            'resolution_fault{part="consuming"}': "1x20",
            'resolution_fault{part="publishing"}': "0x20",
            'resolution_fault{part="consuming", instance="b"}': "0x20",
            'resolution_fault{part="publishing", instance="b"}': "1x20",
            'resolution_fault{cluster="us", part="consuming"}': "1x20",
            'resolution_fault{cluster="us", part="consuming", instance="b"}': "0x20",
        },
        (
            Silent("ResolutionBrokerUnavailable", "45s"),
            Fires("ResolutionBrokerUnavailable", "3m"),
        ),
    ),
    Case(
        "a queue is deleted, declared again, and acknowledged an hour later",
        {
            **both("resolution_queues_lost", "0x20 1x240 0x20"),
            **both('resolution_fault{part="topology"}', "0x20 1x40 0x220"),
            **both('resolution_fault{part="consuming"}', "0x20 1x40 0x100 1x40 0x100"),
            **both("resolution_ready", "1x20 0x40 1x100 0x40 1x100"),
        },
        (
            Silent("ResolutionQueueLost", "5m 67m"),
            Fires("ResolutionQueueLost", "6m"),
            Fires("ResolutionQueueLost", "60m"),
            Silent("ResolutionBrokerUnavailable", "10m 14m"),
            Silent("ResolutionUnready", "10m 14m"),
            Fires("ResolutionBrokerUnavailable", "43m"),  # another outage is not hidden by it
            Fires("ResolutionUnready", "43m"),
        ),
    ),
    Case(
        "calls are stopped on staging, and in production on one of two replicas",
        {
            **both("resolution_ready", "1x40"),
            "resolution_breaker_open": "0x40",
            'resolution_breaker_open{instance="b"}': "1x40",
            'resolution_ready{environment="staging"}': "1x40",
            'resolution_ready{environment="staging", instance="b"}': "0x40",
            'resolution_breaker_open{environment="staging"}': "0x3 1x20 0x16",
            # This one has no database, and never had a call to stop.
            'resolution_breaker_open{environment="staging", instance="b"}': "0x40",
        },
        (
            Silent("ResolutionCallsStopped", "1m30s 7m"),
            Fires("ResolutionCallsStopped", "3m", labels={"environment": "staging"}),
        ),
    ),
    Case(
        "AWS refuses one of two replicas alone",
        {
            "resolution_refused_alone": "0x40",
            'resolution_refused_alone{instance="b"}': "0x3 1x37",
        },
        (
            Silent("ResolutionReplicaRefused", "2m"),
            Fires("ResolutionReplicaRefused", "4m", labels=B),
        ),
    ),
    Case(
        "one of two replicas starts again and again, the other once, in a roll-out",
        {
            "process_start_time_seconds": "100x10 250x110",
            'process_start_time_seconds{instance="b"}': "100x10 200x8 300x8 400x8 500x80",
        },
        (
            Silent("ResolutionCrashLoop", "6m 29m"),
            Fires("ResolutionCrashLoop", "8m", "3", labels=B),
        ),
    ),
)

WAITING = (
    Case(
        "a worker has had a token in hand for long, and again after giving it back",
        {
            **both(IN_HAND, "0+15x15 0+15x15 0x30"),
            'resolution_longest_in_hand_seconds{lane="backlog"}': "0+15x60",
        },
        (
            Silent("ResolutionBuyerStuck", "3m 13m"),
            Fires("ResolutionBuyerStuck", "3m30s"),
            Fires("ResolutionBuyerStuck", "5m30s"),
            Fires("ResolutionBuyerStuck", "7m30s"),
        ),
    ),
    Case(
        "tokens are in hand for long: calls are paused, and the database is away elsewhere",
        {
            IN_HAND: "0+15x60",
            "resolution_paused": "1x60",
            'resolution_longest_in_hand_seconds{lane="live", cluster="us"}': "0+15x60",
            'resolution_fault{part="ledger", cluster="us"}': "1x60",
        },
        (Silent("ResolutionBuyerStuck", "4m 8m 15m"),),
    ),
    Case(
        "a pause without an end, and one with an end",
        {
            **both("resolution_pause_seconds", "0x2 0+60x120"),
            **both("resolution_pause_until_timestamp_seconds", "0x123"),
            'resolution_pause_seconds{cluster="us"}': "0+60x123",
            'resolution_pause_until_timestamp_seconds{cluster="us"}': "7500x123",
        },
        (
            Silent("ResolutionPauseForgotten", "1h2m"),
            Fires("ResolutionPauseForgotten", "1h10m", "1h 7m 0s"),
        ),
        every="1m",
    ),
    Case(
        "a pause with an end that comes too late",
        {
            "resolution_pause_seconds": "0+300x50",
            "resolution_pause_until_timestamp_seconds": "99999x50",
        },
        (
            Silent("ResolutionPauseForgotten", "2h50m"),
            Fires("ResolutionPauseForgotten", "3h10m", "3h 10m 0s"),
        ),
        every="5m",
    ),
    Case(
        "a few buyers an hour, all of them late",
        {ANSWERED: "0x5 0+0.1x120 12x60", IN_TIME: "0x186"},
        (
            Silent("ResolutionBuyersWait", "40m"),  # four of four, but only four
            Fires("ResolutionBuyersWait", "1h30m", "6"),
            Silent("ResolutionBuyersWait", "3h"),
            Silent("ResolutionObjectiveSlow", "40m"),
            Fires("ResolutionObjectiveSlow", "2h", "11.4", BY_WAITS),
        ),
        every="1m",
    ),
    Case(
        "one buyer in ten is late, of many: in an hour too few to page, in six enough",
        {ANSWERED: "0+50x100", IN_TIME: "0+45x100"},
        (
            Silent("ResolutionBuyersWait", "5m"),
            Fires("ResolutionBuyersWait", "5h", "300"),
        ),
        every="5m",
    ),
    Case(
        "one buyer in fifty is late: nobody is woken, but the objective will be missed",
        {ANSWERED: "0+500x100", IN_TIME: "0+490x100"},
        (
            Silent("ResolutionBuyersWait", "2h 8h"),
            Silent("ResolutionObjectiveSlow", "10m"),
            Fires("ResolutionObjectiveSlow", "5h", "600", BY_WAITS),
        ),
        every="5m",
    ),
    Case(
        "strangers' tokens are answered late or soon, and none is resolved; and buyers wait",
        {
            'resolution_wait_seconds_count{lane="live"}': "0+1000x100",
            'resolution_wait_seconds_bucket{lane="live", le="30.0"}': "0+900x100",
            TURNED_AWAY: "0+1000x100",
            ANSWERED: "0x100",
            IN_TIME: "0x100",
            f'{WAITS}_count{{lane="live", cluster="us"}}': "0+1x100",
            f'{WAITS}_bucket{{lane="live", le="30.0", cluster="us"}}': "0x100",
            TURNED_AWAY.replace("}", ', cluster="us"}'): "0+1000x100",
        },
        (
            Silent("ResolutionBuyersWait", "4m"),
            Fires("ResolutionBuyersWait", "1h10m", "60", {"cluster": "us"}),
        ),
        every="1m",
    ),
    Case(
        "a queue was deleted and declared again, and those who waited for it are answered late",
        {
            ANSWERED: "0x30 0+20x5 100x60",
            IN_TIME: "0x95",
            **both("resolution_paused", "0x95"),
            **both("resolution_queues_lost", "0x5 1x90"),
            **both('resolution_fault{part="topology"}', "0x5 1x24 0x66"),
        },
        (Silent("ResolutionBuyersWait", "31m 35m 40m 60m 80m"),),
        every="1m",
    ),
    Case(
        "after a pause, and after an outage that has paged, all that waited are answered late",
        {
            ANSWERED: "0x30 0+20x5 100x60",
            IN_TIME: "0x95",
            "resolution_paused": "0x5 1x24 0x70",
            f'{WAITS}_count{{lane="live", cluster="us"}}': "0x30 0+20x5 100x60",
            f'{WAITS}_bucket{{lane="live", le="30.0", cluster="us"}}': "0x95",
            'resolution_breaker_open{cluster="us"}': "0x5 1x24 0x70",
        },
        (Silent("ResolutionBuyersWait", "31m 35m 40m 60m 80m"),),
        every="1m",
    ),
    Case(
        "one queue is long and grows, one is long and shrinks, one of the broker's grows",
        {
            **both(f'{QUEUE}{{queue="resolution.tokens"}}', "2000+10x200"),
            f'{QUEUE}{{queue="resolution.backlog"}}': "90000-10x200",
            f'{QUEUE}{{queue="resolution.retry.2m"}}': "2000+10x200",
            f'{QUEUE}{{queue="resolution.tokens", cluster="us"}}': "2000+10x200",
            'resolution_paused{cluster="us"}': "1x200",
        },
        (
            Silent("ResolutionQueueGrows", "10m"),
            Fires("ResolutionQueueGrows", "40m", labels={"queue": "resolution.tokens"}),
        ),
    ),
)

TOKENS = (
    Case(
        "a few buyers an hour, and all of their tokens die",
        {DEAD: "0x5 0+0.1x70 7x400", RESOLVED: "0x475", PARKED: "0x475"},
        (
            Silent("ResolutionTokensLost", "40m"),
            Fires("ResolutionTokensLost", "1h10m", "6"),
            Silent("ResolutionTokensLost", "2h"),
            Fires("ResolutionObjectiveSlow", "2h", "7", BY_LOSS),
        ),
        every="1m",
    ),
    Case(
        "the broker parks one message in a hundred",
        {DEAD: "0x120", RESOLVED: "0+10x120", PARKED: "0+0.1x120"},
        (
            Silent("ResolutionTokensLost", "20m"),
            Fires("ResolutionTokensLost", "1h30m", "9"),
        ),
        every="1m",
    ),
    Case(
        "fifty tokens die in an hour, of very many",
        {DEAD: "0+1x120", RESOLVED: "0+5000x120", PARKED: "0x120"},
        (
            Silent("ResolutionTokensLost", "40m"),
            Fires("ResolutionTokensLost", "1h30m", "60"),
        ),
        every="1m",
    ),
    Case(
        "a dead letter can be saved; the one of the other cluster was rejected",
        {
            **both(f'{EXPIRY}{{reason="dead"}}', "Inf+0x5 14400-60x235"),
            f'{EXPIRY}{{reason="parked"}}': "Inf+0x240",
            f'{EXPIRY}{{reason="rejected", cluster="us"}}': "900x240",
            f'{EXPIRY}{{reason="dead", cluster="us"}}': "Inf+0x240",
        },
        (
            Silent("ResolutionDeadLettersRedeemable", "6m"),
            Fires("ResolutionDeadLettersRedeemable", "10m", "3h 56m 0s"),
            Silent("ResolutionDeadLettersExpire", "3h"),
            Fires("ResolutionDeadLettersExpire", "3h45m", "21m 0s"),
        ),
        every="1m",
    ),
    Case(
        "a wrong seller account turns all buyers away, first of all",
        {TURNED_AWAY: "0x4 0+5x40", RESOLVED: "0x44"},
        (
            Silent("ResolutionAllRejected", "1m"),
            Fires("ResolutionAllRejected", "10m", "175"),
        ),
    ),
    Case(
        "a wrong seller account from now on, where two buyers a minute come",
        {TURNED_AWAY: "0x60 0+2x60", RESOLVED: "0+2x60 120x60"},
        (
            Silent("ResolutionAllRejected", "1h 1h9m"),
            Fires("ResolutionAllRejected", "1h20m", "20"),
        ),
        every="1m",
    ),
    Case(
        "a wrong seller account from now on, where one buyer an hour comes",
        {
            TURNED_AWAY: "0x60 0+0.1x120",
            RESOLVED: "0+0.1x60 6x120",
        },
        (
            Silent("ResolutionAllRejected", "5h 10h"),
            Fires("ResolutionAllRejected", "12h", "7.2"),
        ),
        every="5m",
    ),
    Case(
        "the web tier spoils all tokens",
        {
            TURNED_AWAY.replace("rejected", "malformed"): "0+1x80",
            RESOLVED: "0x80",
        },
        (Fires("ResolutionAllRejected", "15m", "60"),),
    ),
    Case(
        "junk, beside four buyers an hour of whom one is resolved",
        {TURNED_AWAY: "0+10x120", RESOLVED: "0x30 1x90", **NO_LOSS},
        (
            Silent("ResolutionAllRejected", "35m 1h20m"),
            Fires("ResolutionJunk", "1h20m", "600"),
        ),
        every="1m",
    ),
    Case(
        "junk in the crowd",
        {
            CROWD: "0+10x120",
            RESOLVED: "0+1x120",
            TURNED_AWAY: "0x120",
        },
        (
            Silent("ResolutionJunk", "5m"),
            Fires("ResolutionJunk", "1h20m", "600"),
        ),
        every="1m",
    ),
)

REST = (
    Case(
        "one of two replicas drops replies, and both see the same events waiting",
        {
            'resolution_answers_dropped_total{kind="reply"}': "0x20 0+4x120",
            'resolution_answers_dropped_total{kind="reply", instance="b"}': "0x140",
            'resolution_answers_dropped_total{kind="event"}': "0x140",
            **both("resolution_outbox_events", "0x20 40x120"),
        },
        (
            Silent("ResolutionAnswersDropped", "5m"),
            Fires("ResolutionAnswersDropped", "10m", labels={"kind": "reply"}),
            Silent("ResolutionEventsWait", "15m"),
            Fires("ResolutionEventsWait", "25m", "40"),
        ),
    ),
    Case(
        "one reply in five finds no queue",
        {
            'resolution_oddities_total{member="reply_unroutable"}': "0+1x120",
            RESOLVED: "0+5x120",
        },
        (
            Silent("ResolutionRepliesUnroutable", "4m"),
            Fires("ResolutionRepliesUnroutable", "1h30m", "60"),
        ),
        every="1m",
    ),
    Case(
        "what waits in a lane expires",
        {
            'resolution_oddities_total{member="expiration"}': "0x20 0+5x60",
            'resolution_oddities_total{member="source"}': "0+5x80",
        },
        (
            Silent("ResolutionMessagesExpire", "5m 9m"),
            Fires("ResolutionMessagesExpire", "14m", labels={"member": "expiration"}),
        ),
    ),
    Case(
        "of two replicas one still retains, then none does",
        {
            "resolution_retention_last_round_timestamp_seconds": "0x240",
            'resolution_retention_last_round_timestamp_seconds{instance="b"}': "0+60x60 3600x180",
        },
        (
            Silent("ResolutionRetentionStalled", "179m"),
            Fires("ResolutionRetentionStalled", "192m", "2h 12m 0s"),
        ),
        every="1m",
    ),
    Case(
        "the database refuses a row",
        {
            'resolution_rows_refused_total{kept_as="dead_letter"}': "0x8 1x200",
            'resolution_rows_refused_total{kept_as="reduced"}': "0x208",
        },
        (
            Silent("ResolutionRowsRefused", "1m 40m"),
            Fires("ResolutionRowsRefused", "5m", labels={"kept_as": "dead_letter"}),
        ),
    ),
    Case(
        "a clock is slow, and one was fast for a moment",
        {
            "resolution_clock_skew_seconds": "-8x80",
            'resolution_clock_skew_seconds{instance="b"}': "0x20 9x4 0x56",
        },
        (
            Silent("ResolutionClockSkew", "9m"),
            Fires("ResolutionClockSkew", "12m", "8s", {"instance": "a"}),
        ),
    ),
    Case(
        "a secret can't be used",
        {
            "resolution_secrets_kept": "0x10 1x50",
            'resolution_secrets_kept{instance="b"}': "0x10 1x10 0x40",
        },
        (
            Silent("ResolutionSecretsStale", "6m"),
            Fires("ResolutionSecretsStale", "9m", "1", {"instance": "a"}),
        ),
    ),
)

CASES = (*OUTAGES, *WAITING, *TOKENS, *REST)
