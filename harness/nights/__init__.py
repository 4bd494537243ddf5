"""Nights: what breaks on real servers, whom the alerts wake, and whether the runbook mends it.

A *night* breaks something beside a small steady traffic of buyers, waits for its alert to be
notified by a real Prometheus and a real Alertmanager, does what the alert's page in
`docs/runbooks` says, and waits for the alert to end. All durations of monitoring are a fraction of
those that are deployed, mostly a sixtieth; broker, database and workers are as fast as they are. So
the seconds of a night, multiplied, are the most that it would take in reality.

Workers take some seconds to be sure of a fault of the database (five) or of the broker (eight). A
sixtieth would let the consequences of such a fault be told before their cause, which takes a minute
in reality: those nights are less fast.
"""
