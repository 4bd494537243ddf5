-- Sets an operator's ceiling in place of the configured ones; Infinity stands for none at all.
UPDATE resolution.quota
SET ceiling = $2, ceiling_actor = $3, ceiling_reason = $4, ceiling_at = clock_timestamp()
WHERE seller = $1
