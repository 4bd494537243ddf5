-- Pauses the calls of a seller's replicas, audited, for some seconds or until they are resumed; returns
-- the pause in force, and whether it is new.
SELECT pause_actor, pause_reason, paused_at, pause_until, changed
FROM resolution.pause($1, $2, $3, $4)
