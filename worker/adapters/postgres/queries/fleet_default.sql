-- Lets the configured ceilings count again.
UPDATE resolution.quota
SET ceiling = NULL, ceiling_actor = NULL, ceiling_reason = NULL, ceiling_at = NULL
WHERE seller = $1
