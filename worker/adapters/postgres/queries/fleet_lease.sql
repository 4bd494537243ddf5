-- Writes a lease that was computed from this version of the seller's row, and removes what is long
-- dead; returns no row where another replica came first.
WITH written AS (
    INSERT INTO resolution.quota AS stood (seller, version, state, rate, singly, replicas)
    VALUES ($1, $2::bigint + 1, $3::text::jsonb, $4, $5, $6)
    ON CONFLICT (seller) DO UPDATE SET
        version = excluded.version,
        state = excluded.state,
        rate = excluded.rate,
        singly = excluded.singly,
        replicas = excluded.replicas
    WHERE stood.version = $2::bigint
    RETURNING seller
),

taking_part AS (
    INSERT INTO resolution.replica (
        seller, id, need, granted, ceiling, identity, version, seen_at, expires_at
    )
    SELECT
        seller, $7::text, $8::float8, $9::float8, $10::float8, $11::text, $12::text,
        clock_timestamp(), clock_timestamp() + interval '3 seconds'
    FROM written
    ON CONFLICT (seller, id) DO UPDATE SET
        need = excluded.need,
        granted = excluded.granted,
        ceiling = excluded.ceiling,
        identity = excluded.identity,
        version = excluded.version,
        seen_at = excluded.seen_at,
        expires_at = excluded.expires_at
),

dead AS (
    DELETE FROM resolution.replica
    USING written
    WHERE
        replica.seller = written.seller
        AND replica.id <> $7::text
        AND replica.expires_at < clock_timestamp() - interval '1 minute'
),

forgotten AS (
    DELETE FROM resolution.breaker
    USING written
    WHERE
        breaker.seller = written.seller
        AND breaker.identity <> $11::text
        AND breaker.seen_at < clock_timestamp() - interval '1 hour'
)

-- A crash of the server may cost the last half second of this; waiting for its disk or for a
-- standby would cost every replica each second, and the ledger too.
SELECT set_config('synchronous_commit', 'off', TRUE)
FROM written
