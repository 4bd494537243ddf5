-- One buyer's token, found in a million rows by what a person has at hand; and how old the oldest
-- message is that a replica has, for whoever asks for one that is not settled.

-- Of a beginning that always fits into an index, whatever a publisher or AWS sends: no row is refused
-- for its length.
CREATE INDEX ledger_by_message ON resolution.ledger (left(message_id, 255));
CREATE INDEX ledger_by_account ON resolution.ledger (left(customer_aws_account_id, 255))
    WHERE customer_aws_account_id IS NOT NULL;
CREATE INDEX ledger_by_customer ON resolution.ledger (left(customer_identifier, 255))
    WHERE customer_identifier IS NOT NULL;
CREATE INDEX ledger_by_license ON resolution.ledger (left(license_arn, 255))
    WHERE license_arn IS NOT NULL;
CREATE INDEX agreement_by_customer ON resolution.agreement (left(customer_identifier, 255))
    WHERE customer_identifier IS NOT NULL;
CREATE INDEX malformed_message_by_id ON resolution.malformed_message (left(message_id, 255));

-- When the oldest message that a replica has in hand was received; null: of the version before, or
-- it has none.
ALTER TABLE resolution.replica ADD COLUMN oldest_at timestamptz;

-- Writes a lease that was computed from this version of the seller's row, notes which replicas did
-- not renew theirs, and removes what is long dead. False where another replica came first.
--
-- A lease ends after three seconds, whoever writes it; what it says is bounded.
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
        skew_seconds, schema_version, oldest_at
    )
    SELECT
        of_seller, of_replica, its_need, its_share, its_ceiling, its_program,
        clock_timestamp(), clock_timestamp() + interval '3 seconds',
        told.identity, told.refused_code, told.refused_message,
        clock_timestamp() - make_interval(secs => told.refused_seconds),
        told.probes,
        clock_timestamp() - make_interval(secs => told.accepted_seconds),
        told.suspected, told.skew_seconds, told.schema_version,
        clock_timestamp() - make_interval(secs => told.oldest_seconds)
    FROM json_to_record(its_report) AS told (
        identity text, refused_code text, refused_message text, refused_seconds float8,
        probes integer, accepted_seconds float8, suspected integer, skew_seconds float8,
        schema_version integer, oldest_seconds float8
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
        oldest_at = excluded.oldest_at;

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
