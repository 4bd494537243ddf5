-- Sets an operator's ceiling, audited: Infinity for none at all, null for the configured ones; what
-- was said before.
SELECT ceiling, ceiling_actor, ceiling_reason, ceiling_at
FROM resolution.set_ceiling($1, $2, $3, $4)
