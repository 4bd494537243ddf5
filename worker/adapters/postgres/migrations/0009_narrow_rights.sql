-- What a stolen password of the worker's can do is bounded by the schema's owner: how long things
-- are kept, what a replica tells the others, how letters change; and whoever pauses, bounds the
-- rate or opens a payload is audited by the very function that does it.
--
-- It only adds. Programs of the version before write the tables themselves, and go on doing so
-- until deploy/postgres/revoke.sql takes those rights away.

-- --- how long things are kept ---

CREATE TABLE resolution.retention (
    one boolean PRIMARY KEY DEFAULT TRUE CHECK (one),
    -- What is resolved, and everything else that is settled; null: for ever.
    ledger interval CHECK (ledger >= interval '1 day'),
    unresolved interval DEFAULT interval '7 days' CHECK (unresolved >= interval '1 day'),
    dead_letters interval DEFAULT interval '30 days' CHECK (dead_letters >= interval '1 day'),
    audit interval DEFAULT interval '400 days' CHECK (audit >= interval '30 days')
);

INSERT INTO resolution.retention DEFAULT VALUES;

-- A row is in one of two, so that what is unresolved is found among millions that are kept.
CREATE INDEX ledger_resolved_by_settlement ON resolution.ledger (settled_at)
    WHERE status = 'resolved';
CREATE INDEX ledger_unresolved_by_settlement ON resolution.ledger (settled_at)
    WHERE status <> 'resolved';
DROP INDEX resolution.ledger_by_settlement;

-- A worker may ask for longer than the owner's period, never for shorter.
CREATE OR REPLACE FUNCTION resolution.prune_ledger(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT token_sha256, seller
        FROM resolution.ledger
        WHERE
            status = 'resolved'
            AND settled_at < now() - (
                SELECT greatest(older_than, ledger)
                FROM resolution.retention
                WHERE ledger IS NOT NULL
            )
        ORDER BY settled_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.ledger
        USING due
        WHERE ledger.token_sha256 = due.token_sha256 AND ledger.seller = due.seller
        RETURNING ledger.seller
    )

    SELECT count(*) FROM gone
$$;

-- What strangers send is rejected, and is worth nothing to anybody after some days.
CREATE FUNCTION resolution.prune_unresolved(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT token_sha256, seller
        FROM resolution.ledger
        WHERE
            status <> 'resolved'
            AND settled_at < now() - (
                SELECT greatest(older_than, unresolved)
                FROM resolution.retention
                WHERE unresolved IS NOT NULL
            )
        ORDER BY settled_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.ledger
        USING due
        WHERE ledger.token_sha256 = due.token_sha256 AND ledger.seller = due.seller
        RETURNING ledger.seller
    )

    SELECT count(*) FROM gone
$$;

CREATE OR REPLACE FUNCTION resolution.prune_malformed(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT body_sha256, message_id
        FROM resolution.malformed_message
        WHERE noted_at < now() - (
            SELECT greatest(older_than, dead_letters)
            FROM resolution.retention
            WHERE dead_letters IS NOT NULL
        )
        ORDER BY noted_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.malformed_message AS message
        USING due
        WHERE message.body_sha256 = due.body_sha256 AND message.message_id = due.message_id
        RETURNING message.message_id
    )

    SELECT count(*) FROM gone
$$;

CREATE OR REPLACE FUNCTION resolution.prune_replays(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.replay
        WHERE
            heartbeat_at < now() - (
                SELECT greatest(older_than, dead_letters)
                FROM resolution.retention
                WHERE dead_letters IS NOT NULL
            )
            AND NOT EXISTS (
                SELECT FROM resolution.dead_letter WHERE dead_letter.replay_id = replay.id
            )
            AND NOT EXISTS (
                SELECT FROM resolution.letter_event WHERE letter_event.replay_id = replay.id
            )
        ORDER BY heartbeat_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.replay USING due WHERE replay.id = due.id RETURNING replay.id
    )

    SELECT count(*) FROM gone
$$;

CREATE OR REPLACE FUNCTION resolution.prune_audit(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.audit
        WHERE at < now() - (
            SELECT greatest(older_than, audit)
            FROM resolution.retention
            WHERE audit IS NOT NULL
        )
        ORDER BY at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.audit USING due WHERE audit.id = due.id RETURNING audit.id
    )

    SELECT count(*) FROM gone
$$;

-- --- no row that a program can't read or send ---

-- One that was written with a time beyond all calendars ended each worker that came to read it.
UPDATE resolution.ledger
SET
    received_at = greatest('0001-01-01 UTC', least(received_at, now())),
    settled_at = greatest('0001-01-01 UTC', least(settled_at, now())),
    first_seen_at = greatest('0001-01-01 UTC', least(first_seen_at, now()))
WHERE
    received_at NOT BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC'
    OR settled_at NOT BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC'
    OR first_seen_at NOT BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC';

-- For rows from now on: the table is not read through for it.
ALTER TABLE resolution.ledger ADD CONSTRAINT ledger_can_be_read CHECK (
    received_at BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC'
    AND settled_at BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC'
    AND first_seen_at BETWEEN '0001-01-01 UTC' AND '9000-01-01 UTC'
    AND octet_length(message_id) <= 1024
    AND octet_length(error_message) <= 65536
    AND octet_length(concat(
        product_code, customer_aws_account_id, customer_identifier, license_arn, agreement_id,
        offer_type, error_code, advice
    )) <= 32768
) NOT VALID;

ALTER TABLE resolution.event_outbox ADD CONSTRAINT event_outbox_can_be_sent CHECK (
    routing_key IN (
        'token.resolved', 'token.rejected', 'token.expired', 'token.dead', 'token.malformed'
    )
    AND octet_length(message_id) <= 255
    AND octet_length(correlation_id) <= 255
    AND octet_length(body) <= 131072
) NOT VALID;

-- --- letters: told, closed, bounded ---

-- How many letters of a group were told in an hour; of those beyond the bound only this is kept.
-- Each session counts in a row of its own, so that one that hangs holds up nobody else's letters.
CREATE TABLE resolution.letter_count (
    group_key text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    session integer NOT NULL DEFAULT pg_backend_pid(),
    letters bigint NOT NULL CHECK (letters > 0),
    bound bigint NOT NULL CHECK (bound > 0),
    PRIMARY KEY (group_key, hour, session)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION resolution.prune_letters(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH period AS (
        SELECT greatest(older_than, dead_letters) AS kept
        FROM resolution.retention
        WHERE dead_letters IS NOT NULL
    ),

    due AS (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            state IN ('resolved', 'discarded', 'archived')
            AND closed_at < now() - (SELECT kept FROM period)
        ORDER BY closed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.dead_letter
        USING due
        WHERE dead_letter.id = due.id
        RETURNING dead_letter.id
    ),

    forgotten AS (
        DELETE FROM resolution.letter_count
        WHERE (group_key, hour, session) IN (
            SELECT group_key, hour, session
            FROM resolution.letter_count
            WHERE hour < now() - (SELECT kept FROM period)
            LIMIT least(most, 1000)
        )
    )

    SELECT count(*) FROM gone
$$;

-- A letter as a worker tells it; the names and types are those of the table.
CREATE TYPE resolution.told_letter AS (
    seller text, reason text, error_code text, error_message text, token_sha256 bytea,
    body_sha256 bytea, message_id text, correlation_id text, lane text, metadata text,
    attempts integer, received_at timestamptz, failed_at timestamptz,
    redeemable_until timestamptz, sealed bytea, seal_key_id text, body_bytes integer,
    group_key text
);

-- How many letters of a group are kept in an hour; null: all. What strangers can make at will is
-- bounded. The bound is wider where the buyers may be real and the fault ours: nobody else was
-- resolved meanwhile, or we let the tokens wait until they were too old. What only AWS or the
-- broker can make is never let go.
CREATE FUNCTION resolution.most_letters(reason text, error_code text, others_resolved boolean)
RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN reason NOT IN ('rejected', 'expired', 'malformed') THEN NULL
        WHEN error_code = 'LifetimeExceeded' THEN 20000
        WHEN reason = 'rejected' AND NOT others_resolved THEN 20000
        ELSE 2000
    END
$$;

-- Keeps messages that were given up, except of tokens that stand resolved.
--
-- Rejected tokens are in another group while others resolve: those that strangers make up, apart
-- from those that a wrong seller account rejects. Beyond the bound of a group only a count is kept.
CREATE FUNCTION resolution.tell_letters(letters json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    told resolution.told_letter[];
    lively text[];
BEGIN
    SELECT array_agg(seller) INTO lively
    FROM (
        SELECT DISTINCT seller
        FROM json_populate_recordset(NULL::resolution.told_letter, letters)
        WHERE reason = 'rejected'
    ) AS rejected
    WHERE EXISTS (
        SELECT FROM resolution.ledger
        WHERE
            ledger.seller = rejected.seller
            AND ledger.status = 'resolved'
            AND ledger.settled_at > now() - interval '5 minutes'
    );
    lively := coalesce(lively, '{}');

    -- One of each message, of tokens that do not stand resolved; no time of it lies ahead.
    SELECT array_agg(
        ROW(
            seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
            correlation_id, lane, metadata, attempts, received_at,
            least(failed_at, clock_timestamp()),
            -- Null is no lesser one.
            CASE
                WHEN redeemable_until IS NOT NULL
                    THEN least(redeemable_until, clock_timestamp() + interval '4 hours')
            END,
            sealed, seal_key_id, body_bytes,
            CASE
                WHEN reason = 'rejected' AND seller = ANY(lively)
                    THEN left(encode(sha256(convert_to(
                        group_key || ' while others resolve', 'UTF8'
                    )), 'hex'), 12)
                ELSE group_key
            END
        )::resolution.told_letter
        ORDER BY body_sha256, message_id
    ) INTO told
    FROM (
        SELECT DISTINCT ON (body_sha256, message_id) *
        FROM json_populate_recordset(NULL::resolution.told_letter, letters) AS letter
        WHERE NOT EXISTS (
            SELECT FROM resolution.ledger
            WHERE
                ledger.token_sha256 = letter.token_sha256
                AND ledger.seller = letter.seller
                AND ledger.status = 'resolved'
        )
        ORDER BY body_sha256, message_id, failed_at DESC
    ) AS newest;

    -- Those given up before. Told again while its letter is open it is the same death; after a
    -- replay, another, which its history tells. What was sealed stays: it is the same message.
    WITH stood AS (
        -- Locked before they are written, so that the state is the one that is written over.
        SELECT letter.id, letter.state, given.*
        FROM resolution.dead_letter AS letter
        INNER JOIN unnest(told) AS given
            ON letter.body_sha256 = given.body_sha256 AND letter.message_id = given.message_id
        WHERE letter.failed_at < given.failed_at
        ORDER BY letter.body_sha256, letter.message_id
        FOR UPDATE OF letter
    ),

    retold AS (
        UPDATE resolution.dead_letter AS kept
        SET
            state = 'open',
            occurrences = kept.occurrences + (stood.state <> 'open')::integer,
            seller = stood.seller,
            reason = stood.reason,
            error_code = stood.error_code,
            error_message = stood.error_message,
            token_sha256 = coalesce(stood.token_sha256, kept.token_sha256),
            correlation_id = stood.correlation_id,
            lane = stood.lane,
            metadata = stood.metadata,
            attempts = stood.attempts,
            received_at = least(kept.received_at, stood.received_at),
            failed_at = stood.failed_at,
            redeemable_until = CASE
                WHEN stood.redeemable_until IS NOT NULL
                    THEN greatest(kept.redeemable_until, stood.redeemable_until)
            END,
            sealed = coalesce(kept.sealed, stood.sealed),
            seal_key_id = CASE
                WHEN kept.sealed IS NULL THEN stood.seal_key_id ELSE kept.seal_key_id
            END,
            body_bytes = stood.body_bytes,
            group_key = stood.group_key,
            grouped_at = stood.failed_at,
            claimed_at = NULL,
            published_at = NULL,
            closed_at = NULL,
            shredded_at = NULL
        FROM stood
        WHERE kept.id = stood.id
    )

    INSERT INTO resolution.letter_event (
        letter_id, at, kind, error_code, error_message, attempts
    )
    SELECT id, failed_at, 'failed', error_code, error_message, attempts
    FROM stood
    WHERE state <> 'open'
    ORDER BY id;

    -- Those given up for the first time; with each its history begins.
    WITH fresh AS (
        SELECT
            given.*,
            resolution.most_letters(reason, error_code, seller = ANY(lively)) AS bound,
            row_number() OVER (PARTITION BY group_key ORDER BY body_sha256, message_id) AS place
        FROM unnest(told) AS given
        WHERE NOT EXISTS (
            SELECT FROM resolution.dead_letter AS letter
            WHERE
                letter.body_sha256 = given.body_sha256
                AND letter.message_id = given.message_id
        )
    ),

    sizes AS (
        SELECT group_key, bound, count(*) AS letters
        FROM fresh
        WHERE bound IS NOT NULL
        GROUP BY group_key, bound
    ),

    before AS (
        SELECT group_key, sum(letters) AS letters
        FROM resolution.letter_count
        WHERE hour = date_trunc('hour', now(), 'UTC') AND group_key IN (SELECT group_key FROM sizes)
        GROUP BY group_key
    ),

    counted AS (
        INSERT INTO resolution.letter_count AS stood (group_key, hour, letters, bound)
        SELECT group_key, date_trunc('hour', now(), 'UTC'), letters, bound
        FROM sizes
        ORDER BY group_key
        ON CONFLICT (group_key, hour, session) DO UPDATE SET
            letters = stood.letters + excluded.letters,
            bound = excluded.bound
    ),

    kept AS (
        INSERT INTO resolution.dead_letter (
            seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
            correlation_id, lane, metadata, attempts, received_at, first_failed_at, failed_at,
            redeemable_until, sealed, seal_key_id, body_bytes, group_key, grouped_at
        )
        SELECT
            seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
            correlation_id, lane, metadata, attempts, received_at, failed_at, failed_at,
            redeemable_until, sealed, seal_key_id, body_bytes, fresh.group_key, failed_at
        FROM fresh
        LEFT JOIN before USING (group_key)
        WHERE fresh.bound IS NULL OR place <= fresh.bound - coalesce(before.letters, 0)
        ORDER BY body_sha256, message_id
        ON CONFLICT (body_sha256, message_id) DO NOTHING
        RETURNING id, body_sha256, message_id
    )

    INSERT INTO resolution.letter_event (
        letter_id, at, kind, error_code, error_message, attempts
    )
    SELECT kept.id, given.failed_at, 'failed', given.error_code, given.error_message, given.attempts
    FROM kept
    INNER JOIN unnest(told) AS given USING (body_sha256, message_id)
    ORDER BY kept.id;

    -- Those of other submissions of the same tokens: they were replayed together, and only one of
    -- them told its own letter.
    WITH given AS (
        SELECT DISTINCT ON (token_sha256, seller) *
        FROM unnest(told)
        WHERE token_sha256 IS NOT NULL
        ORDER BY token_sha256, seller, failed_at DESC
    ),

    reopened AS (
        UPDATE resolution.dead_letter AS kept
        SET
            state = 'open',
            occurrences = kept.occurrences + 1,
            reason = given.reason,
            error_code = given.error_code,
            error_message = given.error_message,
            attempts = given.attempts,
            failed_at = given.failed_at,
            redeemable_until = given.redeemable_until,
            group_key = given.group_key,
            grouped_at = given.failed_at
        FROM given
        WHERE
            kept.token_sha256 = given.token_sha256
            AND kept.seller = given.seller
            AND kept.state = 'replaying'
            AND kept.failed_at < given.failed_at
        RETURNING kept.id, kept.token_sha256, kept.seller
    )

    INSERT INTO resolution.letter_event (
        letter_id, at, kind, error_code, error_message, attempts
    )
    SELECT
        reopened.id, given.failed_at, 'failed', given.error_code, given.error_message,
        given.attempts
    FROM reopened
    INNER JOIN given USING (token_sha256, seller)
    ORDER BY reopened.id;
END
$$;

-- Closes the letters of tokens that stand resolved: there is nothing left to reprocess.
CREATE FUNCTION resolution.close_letters(tokens json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH closed AS (
        UPDATE resolution.dead_letter
        SET state = 'resolved', closed_at = now()
        FROM json_to_recordset(tokens) AS settled (seller text, token_sha256 bytea)
        INNER JOIN resolution.ledger USING (token_sha256, seller)
        WHERE
            dead_letter.token_sha256 = settled.token_sha256
            AND dead_letter.seller = settled.seller
            AND dead_letter.state IN ('open', 'replaying')
            AND ledger.status = 'resolved'
        RETURNING dead_letter.id
    )

    INSERT INTO resolution.letter_event (letter_id, kind)
    SELECT id, 'resolved'
    FROM closed
$$;

-- Notes messages that could not be read; one told again is noted once. Beyond 2,000 of a kind in
-- an hour none is.
CREATE FUNCTION resolution.note_malformed(messages json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH fresh AS (
        SELECT
            *,
            'malformed ' || split_part(reason, ':', 1) AS kind,
            row_number() OVER (
                PARTITION BY split_part(reason, ':', 1) ORDER BY body_sha256, message_id
            ) AS place
        FROM json_to_recordset(messages) AS given (
            body_sha256 bytea, message_id text, reason text, received_at timestamptz
        )
        WHERE NOT EXISTS (
            SELECT FROM resolution.malformed_message AS noted
            WHERE
                noted.body_sha256 = given.body_sha256 AND noted.message_id = given.message_id
        )
    ),

    sizes AS (
        SELECT kind, count(*) AS messages FROM fresh GROUP BY kind
    ),

    before AS (
        SELECT group_key AS kind, sum(letters) AS messages
        FROM resolution.letter_count
        WHERE hour = date_trunc('hour', now(), 'UTC') AND group_key IN (SELECT kind FROM sizes)
        GROUP BY group_key
    ),

    counted AS (
        INSERT INTO resolution.letter_count AS stood (group_key, hour, letters, bound)
        SELECT kind, date_trunc('hour', now(), 'UTC'), messages, 2000
        FROM sizes
        ORDER BY kind
        ON CONFLICT (group_key, hour, session) DO UPDATE SET
            letters = stood.letters + excluded.letters
    )

    INSERT INTO resolution.malformed_message (body_sha256, message_id, reason, received_at)
    SELECT body_sha256, message_id, reason, received_at
    FROM fresh
    LEFT JOIN before USING (kind)
    WHERE place <= 2000 - coalesce(before.messages, 0)
    ORDER BY body_sha256, message_id
    ON CONFLICT (body_sha256, message_id) DO NOTHING
$$;

-- --- the fleet: what a replica may write, and what only people may ---

-- The schema that a replica's program was made for; null: one of the version before, which writes
-- the tables itself.
ALTER TABLE resolution.replica ADD COLUMN schema_version integer;

-- Writes a lease that was computed from this version of the seller's row, notes which replicas did
-- not renew theirs, and removes what is long dead. False where another replica came first.
--
-- A lease ends after three seconds, whoever writes it; what it says is bounded.
CREATE FUNCTION resolution.lease(
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
        skew_seconds, schema_version
    )
    SELECT
        of_seller, of_replica, its_need, its_share, its_ceiling, its_program,
        clock_timestamp(), clock_timestamp() + interval '3 seconds',
        told.identity, told.refused_code, told.refused_message,
        clock_timestamp() - make_interval(secs => told.refused_seconds),
        told.probes,
        clock_timestamp() - make_interval(secs => told.accepted_seconds),
        told.suspected, told.skew_seconds, told.schema_version
    FROM json_to_record(its_report) AS told (
        identity text, refused_code text, refused_message text, refused_seconds float8,
        probes integer, accepted_seconds float8, suspected integer, skew_seconds float8,
        schema_version integer
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
        schema_version = excluded.schema_version;

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

-- Gives a replica's share back.
CREATE FUNCTION resolution.leave(of_seller text, of_replica text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM resolution.replica
    WHERE seller = of_seller AND id = of_replica
$$;

-- Takes the next single permit, one interval after the last: the seconds until it may be used, or
-- null where no rate is known. One that was put far off while the rate was lower is drawn nearer.
CREATE FUNCTION resolution.permit(of_seller text) RETURNS double precision
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seconds double precision;
BEGIN
    UPDATE resolution.quota
    SET
        next_permit_at = greatest(
            clock_timestamp(),
            least(
                coalesce(next_permit_at, '-infinity'),
                clock_timestamp() + make_interval(secs => greatest(10, replicas / rate))
            )
        ) + make_interval(secs => 1 / rate)
    WHERE seller = of_seller AND rate IS NOT NULL
    RETURNING extract(
        EPOCH FROM next_permit_at - make_interval(secs => 1 / rate) - clock_timestamp()
    )::double precision INTO seconds;
    PERFORM set_config('synchronous_commit', 'off', TRUE);
    RETURN seconds;
END
$$;

-- Takes the turn to probe, one a second for all replicas together; false where it is not due.
CREATE FUNCTION resolution.take_probe(of_seller text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE resolution.quota
    SET last_probe_at = clock_timestamp()
    WHERE
        seller = of_seller
        AND coalesce(
            last_probe_at NOT BETWEEN clock_timestamp() - interval '1 second' AND clock_timestamp(),
            TRUE
        );
    RETURN FOUND;
END
$$;

-- --- what people do: each leaves an entry in the audit, or is not done ---

CREATE FUNCTION resolution.write_audit(
    by_actor text, for_reason text, of_action text, about jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(by_actor) NOT BETWEEN 1 AND 500 OR length(for_reason) NOT BETWEEN 1 AND 2000 THEN
        RAISE EXCEPTION '% refused: say who acts and why', of_action
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO resolution.audit (actor, reason, action, subject)
    VALUES (by_actor, for_reason, of_action, about);
END
$$;

-- Holds a seller's row until the transaction ends, makes it where it is not there, and voids what
-- replicas have computed from it meanwhile.
CREATE FUNCTION resolution.hold_quota(of_seller text) RETURNS resolution.quota
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO resolution.quota AS stood (seller)
    VALUES (of_seller)
    ON CONFLICT (seller) DO UPDATE SET version = stood.version + 1
    RETURNING *
$$;

-- Stops the calls of a seller's replicas; the pause that stands, and whether it is this one. One
-- that stood already stays as it is: whoever ends it shall know whose it was.
CREATE FUNCTION resolution.pause(of_seller text, by_actor text, for_reason text)
RETURNS TABLE (pause_actor text, pause_reason text, paused_at timestamptz, changed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stood resolution.quota := resolution.hold_quota(of_seller);
BEGIN
    IF stood.paused_at IS NULL THEN
        UPDATE resolution.quota
        SET pause_actor = by_actor, pause_reason = for_reason, paused_at = clock_timestamp()
        WHERE seller = of_seller;
    END IF;
    PERFORM resolution.write_audit(by_actor, for_reason, 'pause', jsonb_build_object(
        'seller', of_seller, 'changed', stood.paused_at IS NULL
    ));
    RETURN QUERY
    SELECT pause_actor, pause_reason, paused_at, stood.paused_at IS NULL
    FROM resolution.quota
    WHERE seller = of_seller;
END
$$;

-- Lets calls go on; the pause that is over, all null where there was none.
CREATE FUNCTION resolution.resume(of_seller text, by_actor text, for_reason text)
RETURNS TABLE (pause_actor text, pause_reason text, paused_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stood resolution.quota := resolution.hold_quota(of_seller);
BEGIN
    UPDATE resolution.quota
    SET pause_actor = NULL, pause_reason = NULL, paused_at = NULL
    WHERE seller = of_seller;
    PERFORM resolution.write_audit(by_actor, for_reason, 'resume', jsonb_build_object(
        'seller', of_seller, 'changed', stood.paused_at IS NOT NULL
    ));
    RETURN QUERY VALUES (stood.pause_actor, stood.pause_reason, stood.paused_at);
END
$$;

-- Sets an operator's ceiling in place of the configured ones: Infinity for none at all, null for
-- the configured ones again. What was said before, all null where nothing was.
CREATE FUNCTION resolution.set_ceiling(
    of_seller text, new_ceiling double precision, by_actor text, for_reason text
) RETURNS TABLE (
    ceiling double precision, ceiling_actor text, ceiling_reason text, ceiling_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stood resolution.quota := resolution.hold_quota(of_seller);
BEGIN
    IF new_ceiling < 0.01 THEN
        RAISE EXCEPTION 'a ceiling is 0.01 calls a second at the least'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE resolution.quota
    SET
        ceiling = new_ceiling,
        ceiling_actor = CASE WHEN new_ceiling IS NOT NULL THEN by_actor END,
        ceiling_reason = CASE WHEN new_ceiling IS NOT NULL THEN for_reason END,
        ceiling_at = CASE WHEN new_ceiling IS NOT NULL THEN clock_timestamp() END
    WHERE seller = of_seller;
    PERFORM resolution.write_audit(
        by_actor, for_reason, CASE WHEN new_ceiling IS NULL THEN 'rate.default' ELSE 'rate.set' END,
        jsonb_build_object(
            'seller', of_seller,
            'before', CASE
                WHEN stood.ceiling = 'Infinity' THEN to_jsonb('none'::text)
                ELSE to_jsonb(stood.ceiling)
            END
        ) || CASE
            WHEN new_ceiling IS NULL THEN '{}'
            WHEN new_ceiling = 'Infinity' THEN jsonb_build_object('ceiling', 'none')
            ELSE jsonb_build_object('ceiling', new_ceiling)
        END
    );
    RETURN QUERY
    VALUES (stood.ceiling, stood.ceiling_actor, stood.ceiling_reason, stood.ceiling_at);
END
$$;

-- Doubles the rate from where it is until AWS throttles; where that is, null if nowhere yet. What
-- the state leaves out begins anew.
CREATE FUNCTION resolution.search_again(of_seller text, by_actor text, for_reason text)
RETURNS double precision
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stood resolution.quota := resolution.hold_quota(of_seller);
    moment double precision := extract(EPOCH FROM clock_timestamp());
BEGIN
    UPDATE resolution.quota
    SET state = jsonb_build_object('rate', rate, 'epoch_began', moment, 'updated', moment)
    WHERE seller = of_seller AND rate IS NOT NULL;
    PERFORM resolution.write_audit(by_actor, for_reason, 'rate.search', jsonb_build_object(
        'seller', of_seller, 'from', stood.rate
    ));
    RETURN stood.rate;
END
$$;

-- What is sealed in letters, and whose message it must be. Whoever asks is audited first; a letter
-- whose payload is shown to a person says so in its history.
CREATE FUNCTION resolution.open_payloads(
    letters json, by_actor text, for_reason text, of_action text, about json
) RETURNS TABLE (
    id bigint, sealed bytea, seal_key_id text, body_sha256 bytea, body_bytes integer,
    shredded_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
BEGIN
    IF of_action NOT IN (
        'dead-letters.reveal', 'dead-letters.replay.open', 'dead-letters.reseal.open'
    ) THEN
        RAISE EXCEPTION 'payloads are opened to be revealed, replayed or sealed anew'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(letter.id ORDER BY letter.id) INTO ids
    FROM json_array_elements_text(letters) AS wanted (id)
    INNER JOIN resolution.dead_letter AS letter ON letter.id = wanted.id::bigint
    WHERE letter.sealed IS NOT NULL;
    IF ids IS NOT NULL THEN
        PERFORM resolution.write_audit(
            by_actor, for_reason, of_action,
            coalesce(about::jsonb, '{}') || jsonb_build_object('letters', to_jsonb(ids))
        );
        IF of_action = 'dead-letters.reveal' THEN
            INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)
            SELECT opened.id, 'revealed', by_actor, for_reason
            FROM unnest(ids) AS opened (id);
        END IF;
    END IF;
    RETURN QUERY
    SELECT
        letter.id, letter.sealed, letter.seal_key_id, letter.body_sha256, letter.body_bytes,
        letter.shredded_at
    FROM json_array_elements_text(letters) AS wanted (id)
    INNER JOIN resolution.dead_letter AS letter ON letter.id = wanted.id::bigint;
END
$$;

-- Puts newly sealed payloads in the place of the old ones, and notes it in the letters' history.
CREATE FUNCTION resolution.reseal_payloads(
    payloads json, to_key text, by_actor text, for_reason text
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH resealed AS (
        UPDATE resolution.dead_letter AS letter
        SET sealed = given.sealed, seal_key_id = to_key
        FROM json_to_recordset(payloads) AS given (id bigint, sealed bytea)
        WHERE letter.id = given.id AND letter.sealed IS NOT NULL AND given.sealed IS NOT NULL
        RETURNING letter.id
    )

    INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)
    SELECT id, 'resealed', by_actor, for_reason
    FROM resealed
    ORDER BY id
$$;

-- Whoever may use the schema could call them otherwise.
REVOKE ALL ON FUNCTION
    resolution.prune_unresolved(interval, integer),
    resolution.most_letters(text, text, boolean), resolution.tell_letters(json),
    resolution.close_letters(json), resolution.note_malformed(json),
    resolution.lease(
        text, bigint, json, double precision, boolean, integer, text, double precision,
        double precision, double precision, text, json
    ),
    resolution.leave(text, text), resolution.permit(text), resolution.take_probe(text),
    resolution.write_audit(text, text, text, jsonb), resolution.hold_quota(text),
    resolution.pause(text, text, text), resolution.resume(text, text, text),
    resolution.set_ceiling(text, double precision, text, text),
    resolution.search_again(text, text, text),
    resolution.open_payloads(json, text, text, text, json),
    resolution.reseal_payloads(json, text, text, text)
FROM PUBLIC;
