-- Ends a pause, audited; the pause that is over.
SELECT pause_actor, pause_reason, paused_at
FROM resolution.resume($1, $2, $3)
