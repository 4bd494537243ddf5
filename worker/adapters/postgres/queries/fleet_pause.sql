-- Pauses the calls of a seller's replicas.
UPDATE resolution.quota
SET pause_actor = $2, pause_reason = $3, paused_at = clock_timestamp()
WHERE seller = $1
RETURNING pause_actor, pause_reason, paused_at
