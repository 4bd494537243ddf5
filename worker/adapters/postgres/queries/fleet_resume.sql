-- Ends a pause.
UPDATE resolution.quota
SET pause_actor = NULL, pause_reason = NULL, paused_at = NULL
WHERE seller = $1
