-- Reads the shared state of a seller's replicas; no row if none has ever worked.
SELECT
    rate, singly, state::text AS state,
    ceiling, ceiling_actor, ceiling_reason, ceiling_at, pause_actor, pause_reason,
    -- A pause whose time is over is none, though no replica has ended it.
    CASE WHEN coalesce(pause_until > clock_timestamp(), TRUE) THEN paused_at END AS paused_at,
    pause_until,
    extract(EPOCH FROM clock_timestamp())::float8 AS now
FROM resolution.quota
WHERE seller = $1
