-- Reads what is shared by all replicas of a seller; no row where none was ever at work.
SELECT
    rate, singly, ceiling, ceiling_actor, ceiling_reason, ceiling_at, pause_actor, pause_reason,
    paused_at
FROM resolution.quota
WHERE seller = $1
