-- Ends a pause, audited; returns that pause.
SELECT pause_actor, pause_reason, paused_at
FROM resolution.resume($1, $2, $3)
