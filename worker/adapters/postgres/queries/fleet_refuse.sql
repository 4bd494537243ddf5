-- Opens the breaker for an identity; where it is open already, the fault is told anew and the
-- probes keep their turn.
INSERT INTO resolution.breaker AS stood (
    seller, identity, code, message, opened_at, opened_by, next_probe_at, seen_at
)
VALUES (
    $1, $2, $3, $4, clock_timestamp(), $5, clock_timestamp() + make_interval(secs => $6),
    clock_timestamp()
)
ON CONFLICT (seller, identity) DO UPDATE SET
    code = excluded.code,
    message = excluded.message,
    seen_at = excluded.seen_at
