-- Ends a pause, audited; returns that pause, without the time at which it would have ended by itself.
SELECT pause_actor, pause_reason, paused_at, NULL::timestamptz AS pause_until
FROM resolution.resume($1, $2, $3)
