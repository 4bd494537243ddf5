-- Takes the turn to probe as a refused identity, if it is due: one a second for all identities
-- together, and for each after the waits of its own schedule. Returns no row where it is not.
WITH turn AS (
    UPDATE resolution.quota
    SET last_probe_at = clock_timestamp()
    WHERE
        quota.seller = $1
        AND coalesce(quota.last_probe_at <= clock_timestamp() - interval '1 second', TRUE)
        AND EXISTS (
            SELECT FROM resolution.breaker
            WHERE
                breaker.seller = $1
                AND breaker.identity = $2
                AND breaker.next_probe_at <= clock_timestamp()
        )
    RETURNING seller
)

UPDATE resolution.breaker
SET
    probes = breaker.probes + 1,
    next_probe_at = clock_timestamp() + make_interval(
        secs => (
            $3::text::json ->> least(breaker.probes + 1, json_array_length($3::text::json) - 1)
        )::float8
    ),
    seen_at = clock_timestamp()
FROM turn
WHERE
    breaker.seller = turn.seller
    AND breaker.identity = $2
    AND breaker.next_probe_at <= clock_timestamp()
RETURNING breaker.probes
