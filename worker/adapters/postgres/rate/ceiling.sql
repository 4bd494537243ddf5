-- Sets an operator's ceiling, audited: Infinity for no ceiling, null for the configured ones. Returns
-- the previous one.
SELECT ceiling, ceiling_actor, ceiling_reason, ceiling_at
FROM resolution.set_ceiling($1, $2, $3, $4)
