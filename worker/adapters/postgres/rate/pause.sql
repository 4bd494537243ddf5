-- Pauses the calls of a seller's replicas, audited; returns the pause in force, and whether it is new.
SELECT pause_actor, pause_reason, paused_at, changed
FROM resolution.pause($1, $2, $3)
