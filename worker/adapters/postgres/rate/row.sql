-- Reads the shared state of a seller's replicas; no row if none has ever worked.
SELECT
    rate, singly, ceiling, ceiling_actor, ceiling_reason, ceiling_at, pause_actor, pause_reason,
    paused_at
FROM resolution.quota
WHERE seller = $1
