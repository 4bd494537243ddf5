-- Pauses the calls of a seller's replicas, audited; the pause that stands, and whether it is this.
SELECT pause_actor, pause_reason, paused_at, changed
FROM resolution.pause($1, $2, $3)
