-- Writes a lease that was computed from this version of the seller's row, notes which replicas did
-- not renew theirs, and removes what is long dead; returns no row where another replica came first.
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
    INSERT INTO resolution.replica AS stood (
        seller, id, need, granted, ceiling, version, seen_at, expires_at,
        identity, refused_code, refused_message, refused_at, probes, accepted_at, suspected,
        skew_seconds
    )
    SELECT
        written.seller, $7::text, $8::float8, $9::float8, $10::float8, $11::text,
        clock_timestamp(), clock_timestamp() + interval '3 seconds',
        told.identity, told.refused_code, told.refused_message,
        clock_timestamp() - make_interval(secs => told.refused_seconds),
        told.probes,
        clock_timestamp() - make_interval(secs => told.accepted_seconds),
        told.suspected, told.skew_seconds
    FROM written
    CROSS JOIN json_to_record($12::text::json) AS told (
        identity text, refused_code text, refused_message text, refused_seconds float8,
        probes integer, accepted_seconds float8, suspected integer, skew_seconds float8
    )
    ON CONFLICT (seller, id) DO UPDATE SET
        need = excluded.need,
        granted = excluded.granted,
        ceiling = excluded.ceiling,
        version = excluded.version,
        seen_at = excluded.seen_at,
        expires_at = excluded.expires_at,
        missed_at = NULL,
        identity = excluded.identity,
        refused_code = excluded.refused_code,
        refused_message = excluded.refused_message,
        refused_at = excluded.refused_at,
        probes = excluded.probes,
        accepted_at = excluded.accepted_at,
        suspected = excluded.suspected,
        skew_seconds = excluded.skew_seconds
),

missed AS (
    UPDATE resolution.replica
    SET missed_at = clock_timestamp()
    FROM written
    WHERE
        replica.seller = written.seller
        AND replica.id <> $7::text
        AND replica.missed_at IS NULL
        AND replica.expires_at < clock_timestamp()
),

dead AS (
    DELETE FROM resolution.replica
    USING written
    WHERE
        replica.seller = written.seller
        AND replica.id <> $7::text
        AND replica.missed_at IS NOT NULL
        AND replica.expires_at < clock_timestamp() - interval '15 minutes'
)

-- A crash of the server may cost the last half second of this; waiting for its disk or for a
-- standby would cost every replica each second, and the ledger too.
SELECT set_config('synchronous_commit', 'off', TRUE)
FROM written
