-- Reads in one snapshot all that a lease is computed from; always one row.
SELECT
    extract(EPOCH FROM moment.now)::float8 AS now,
    coalesce(quota.version, 0) AS version,
    quota.state::text AS state,
    coalesce(quota.singly, FALSE) AS singly,
    quota.ceiling,
    quota.pause_actor,
    quota.pause_reason,
    quota.paused_at,
    breaker.code,
    breaker.message,
    breaker.opened_at,
    EXISTS (
        SELECT FROM resolution.breaker AS other
        WHERE
            other.seller = $1
            AND other.identity <> $2
            AND other.seen_at > moment.now - interval '5 minutes'
    ) AS others_refused,
    (
        SELECT
            json_agg(json_build_array(
                replica.id, replica.need::text, replica.granted, replica.ceiling
            ))::text
        FROM resolution.replica
        WHERE replica.seller = $1 AND replica.expires_at > moment.now
    ) AS living
-- A volatile function in a row of its own is asked once.
FROM (SELECT clock_timestamp() AS now) AS moment
LEFT JOIN resolution.quota ON quota.seller = $1
LEFT JOIN resolution.breaker ON breaker.seller = $1 AND breaker.identity = $2
