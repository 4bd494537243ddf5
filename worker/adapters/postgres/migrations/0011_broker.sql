-- What the broker may have lost, and what replicas have in hand, for whoever asks.

-- Our queues that have been seen on the broker. One that went missing, and what was in it with it, is
-- told until somebody has acknowledged it, whether it was declared again meanwhile or not.
CREATE TABLE resolution.broker_queue (
    name text PRIMARY KEY CHECK (name LIKE 'resolution.%' AND length(name) <= 255),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lost_at timestamptz
);

-- Notes which queues are there and which are not; returns those that have gone missing.
CREATE FUNCTION resolution.note_queues(present text[], absent text[])
RETURNS TABLE (name text, lost_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO resolution.broker_queue (name)
    SELECT queue
    FROM unnest(present) AS queue
    WHERE
        NOT EXISTS (SELECT FROM resolution.broker_queue WHERE name = queue)
        AND (SELECT count(*) FROM resolution.broker_queue) < 100
    ON CONFLICT DO NOTHING;

    UPDATE resolution.broker_queue
    SET lost_at = clock_timestamp()
    WHERE name = ANY(absent) AND lost_at IS NULL;

    RETURN QUERY
    SELECT name, lost_at
    FROM resolution.broker_queue
    WHERE lost_at IS NOT NULL
    ORDER BY name;
END
$$;

-- Forgets which queues have gone missing, audited; returns them.
CREATE FUNCTION resolution.acknowledge_queues(by_actor text, for_reason text)
RETURNS TABLE (name text, lost_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM resolution.write_audit(by_actor, for_reason, 'acknowledge lost queues', (
        SELECT jsonb_build_object('queues', coalesce(jsonb_agg(name ORDER BY name), '[]'))
        FROM resolution.broker_queue
        WHERE lost_at IS NOT NULL
    ));
    RETURN QUERY
    DELETE FROM resolution.broker_queue
    WHERE lost_at IS NOT NULL
    RETURNING name, lost_at;
END
$$;

-- By lane, how many messages a replica has unacked, and the seconds since the oldest was received:
-- {"live": [12, 0.4]}. Null from programs of the version before.
ALTER TABLE resolution.replica ADD COLUMN in_hand jsonb;

-- As before, with what is in hand.
CREATE OR REPLACE FUNCTION resolution.lease(
    of_seller text, from_version bigint, new_state json, new_rate double precision,
    now_singly boolean, living integer, of_replica text, its_need double precision,
    its_share double precision, its_ceiling double precision, its_program text, its_report json
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF json_typeof(new_state) IS DISTINCT FROM 'object'
        OR octet_length(new_state::text) > 8192
        OR octet_length(its_report::text) > 16384
        OR octet_length(of_replica) > 200
        OR octet_length(its_program) > 200
        OR living > 100000
        OR from_version < 0
        OR (new_rate BETWEEN 0.005 AND 1e6) IS NOT TRUE
        OR (its_share BETWEEN 0 AND new_rate + 1) IS NOT TRUE
        OR its_ceiling < 0.01
    THEN
        RAISE EXCEPTION 'a lease was refused: it is not what a replica writes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO resolution.quota AS stood (seller, version, state, rate, singly, replicas)
    VALUES (of_seller, from_version + 1, new_state::jsonb, new_rate, now_singly, living)
    ON CONFLICT (seller) DO UPDATE SET
        version = excluded.version,
        state = excluded.state,
        rate = excluded.rate,
        singly = excluded.singly,
        replicas = excluded.replicas
    WHERE stood.version = from_version;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;

    INSERT INTO resolution.replica AS stood (
        seller, id, need, granted, ceiling, version, seen_at, expires_at,
        identity, refused_code, refused_message, refused_at, probes, accepted_at, suspected,
        skew_seconds, schema_version, in_hand
    )
    SELECT
        of_seller, of_replica, its_need, its_share, its_ceiling, its_program,
        clock_timestamp(), clock_timestamp() + interval '3 seconds',
        told.identity, told.refused_code, told.refused_message,
        clock_timestamp() - make_interval(secs => told.refused_seconds),
        told.probes,
        clock_timestamp() - make_interval(secs => told.accepted_seconds),
        told.suspected, told.skew_seconds, told.schema_version,
        told.in_hand
    FROM json_to_record(its_report) AS told (
        identity text, refused_code text, refused_message text, refused_seconds float8,
        probes integer, accepted_seconds float8, suspected integer, skew_seconds float8,
        schema_version integer, in_hand jsonb
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
        skew_seconds = excluded.skew_seconds,
        schema_version = excluded.schema_version,
        in_hand = excluded.in_hand;

    UPDATE resolution.replica
    SET missed_at = clock_timestamp()
    WHERE
        seller = of_seller
        AND id <> of_replica
        AND missed_at IS NULL
        AND expires_at < clock_timestamp();

    DELETE FROM resolution.replica
    WHERE
        seller = of_seller
        AND id <> of_replica
        AND missed_at IS NOT NULL
        AND expires_at < clock_timestamp() - interval '15 minutes';

    -- A crash of the server may cost the last half second of this; waiting for its disk or for a
    -- standby would cost every replica each second, and the ledger too.
    PERFORM set_config('synchronous_commit', 'off', TRUE);
    RETURN TRUE;
END
$$;

-- Whoever may use the schema could call them otherwise.
REVOKE ALL ON FUNCTION
    resolution.note_queues(text[], text[]), resolution.acknowledge_queues(text, text)
FROM PUBLIC;
