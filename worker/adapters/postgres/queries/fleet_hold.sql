-- Holds a seller's row for an operator until the transaction ends, makes it where it is not there,
-- and voids what replicas have computed from it meanwhile.
INSERT INTO resolution.quota AS stood (seller)
VALUES ($1)
ON CONFLICT (seller) DO UPDATE SET version = stood.version + 1
RETURNING
    extract(EPOCH FROM clock_timestamp())::float8 AS now,
    rate, ceiling, ceiling_actor, ceiling_reason, ceiling_at, pause_actor, pause_reason, paused_at
