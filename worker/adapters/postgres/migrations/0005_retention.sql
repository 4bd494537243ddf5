-- What ends: payloads, letters, the ledger, the audit, and all that is known of one customer.
--
-- No role but the schema's owner deletes any of it. What others may have deleted they have deleted
-- by the functions below, which run as the owner, in batches, and each of which knows what it must
-- keep whatever it is told: so a stolen password of the worker's empties no table. Nor can it make
-- rows look old: what is final can't be changed, and when a letter was closed the server says.

-- --- the audit only grows ---

-- Not grants alone: they are easily too wide, and this holds for whoever they are given to.
CREATE FUNCTION resolution.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_user <> (
        SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = tg_relid
    ) THEN
        RAISE EXCEPTION '% refused: resolution.% only grows', lower(tg_op), tg_table_name
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER audit_only_grows
BEFORE UPDATE OR DELETE OR TRUNCATE ON resolution.audit
FOR EACH STATEMENT EXECUTE FUNCTION resolution.refuse_change();

-- --- what is resolved is final ---

CREATE FUNCTION resolution.refuse_other_outcome() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_has_role(
        current_user, (SELECT relowner FROM pg_class WHERE oid = tg_relid), 'USAGE'
    ) THEN
        RAISE EXCEPTION 'update refused: what is resolved is final'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN new;
END
$$;

-- Writing outcomes never comes here: it passes resolved rows over by itself.
CREATE TRIGGER ledger_resolved_is_final
BEFORE UPDATE ON resolution.ledger
FOR EACH ROW WHEN (old.status = 'resolved' AND old IS DISTINCT FROM new)
EXECUTE FUNCTION resolution.refuse_other_outcome();

-- --- when a letter was closed, and whether its payload is there ---

-- Workers of the versions before close letters and tell them again without a word about it.
CREATE FUNCTION resolution.date_letter() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    new.closed_at := CASE
        WHEN new.state = old.state THEN old.closed_at
        WHEN new.state NOT IN ('open', 'replaying') THEN now()
    END;
    IF new.sealed IS NOT NULL THEN
        new.shredded_at := NULL;
    END IF;
    RETURN new;
END
$$;

UPDATE resolution.dead_letter
SET closed_at = now()
WHERE closed_at IS NULL AND state NOT IN ('open', 'replaying');

CREATE TRIGGER dead_letter_dated
BEFORE UPDATE OF state, sealed, closed_at ON resolution.dead_letter
FOR EACH ROW EXECUTE FUNCTION resolution.date_letter();

-- --- what retention looks for ---

CREATE INDEX dead_letter_closed ON resolution.dead_letter (closed_at)
    WHERE state IN ('resolved', 'discarded', 'archived');
CREATE INDEX dead_letter_by_replay ON resolution.dead_letter (replay_id)
    WHERE replay_id IS NOT NULL;
CREATE INDEX letter_event_by_replay ON resolution.letter_event (replay_id)
    WHERE replay_id IS NOT NULL;
CREATE INDEX replay_by_heartbeat ON resolution.replay (heartbeat_at);
CREATE INDEX malformed_message_by_time ON resolution.malformed_message (received_at);
CREATE INDEX ledger_by_settlement ON resolution.ledger (settled_at);
-- What can be saved, by reason: the gauges ask for the first of each.
CREATE INDEX dead_letter_saving ON resolution.dead_letter (reason, redeemable_until)
    WHERE state = 'open' AND redeemable_until IS NOT NULL;
DROP INDEX resolution.dead_letter_redeemable;

-- --- retention, a batch at a time ---

-- None of these waits for a row that somebody else holds: it is passed over until the next time.

-- A token is worthless four hours after it was issued, but its message is still personal data. What
-- could not be read at all is evidence against whoever sent it, and is kept for a day.
CREATE FUNCTION resolution.shred_payloads(most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            sealed IS NOT NULL
            AND received_at < now() - interval '4 hours'
            AND coalesce(redeemable_until, '-infinity') < now()
            AND (reason NOT IN ('malformed', 'parked') OR failed_at < now() - interval '1 day')
            AND (state <> 'replaying' OR claimed_at < now() - interval '1 hour')
        ORDER BY received_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    shredded AS (
        UPDATE resolution.dead_letter
        SET sealed = NULL, shredded_at = now()
        FROM due
        WHERE dead_letter.id = due.id
        RETURNING dead_letter.id
    ),

    told AS (
        INSERT INTO resolution.letter_event (letter_id, kind, reason)
        SELECT id, 'shredded', 'past its token''s lifetime' FROM shredded
        RETURNING id
    )

    SELECT count(*) FROM told
$$;

-- A day after the last chance, so that who comes in the morning sees what failed in the night.
CREATE FUNCTION resolution.archive_letters(most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            state IN ('open', 'replaying')
            AND failed_at < now() - interval '1 day'
            AND coalesce(redeemable_until, '-infinity') < now() - interval '1 day'
            AND (state = 'open' OR claimed_at < now() - interval '1 day')
        ORDER BY failed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    archived AS (
        UPDATE resolution.dead_letter
        SET state = 'archived'
        FROM due
        WHERE dead_letter.id = due.id
        RETURNING dead_letter.id
    ),

    told AS (
        INSERT INTO resolution.letter_event (letter_id, kind, reason)
        SELECT id, 'archived', 'past saving for a day' FROM archived
        RETURNING id
    )

    SELECT count(*) FROM told
$$;

CREATE FUNCTION resolution.prune_letters(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            state IN ('resolved', 'discarded', 'archived')
            AND closed_at < now() - greatest(older_than, interval '1 day')
        ORDER BY closed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.dead_letter
        USING due
        WHERE dead_letter.id = due.id
        RETURNING dead_letter.id
    )

    SELECT count(*) FROM gone
$$;

CREATE FUNCTION resolution.prune_malformed(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT body_sha256, message_id
        FROM resolution.malformed_message
        WHERE received_at < now() - greatest(older_than, interval '1 day')
        ORDER BY received_at
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

-- A replay goes when the last letter has gone whose history names it.
CREATE FUNCTION resolution.prune_replays(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.replay
        WHERE
            heartbeat_at < now() - greatest(older_than, interval '1 day')
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

-- A day at the least: as long as a token may live, what is settled of it must be known.
CREATE FUNCTION resolution.prune_ledger(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT token_sha256, seller
        FROM resolution.ledger
        WHERE settled_at < now() - greatest(older_than, interval '1 day')
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

CREATE FUNCTION resolution.prune_audit(older_than interval, most integer) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.audit
        WHERE at < now() - greatest(older_than, interval '30 days')
        ORDER BY at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.audit USING due WHERE audit.id = due.id RETURNING audit.id
    )

    SELECT count(*) FROM gone
$$;

-- --- one customer ---

-- Removes what is stored of a customer, and audits that it did: who may call this can't but leave
-- an entry. Says of each table how many rows went; all zero, and no entry, where nothing is stored.
--
-- A customer is an account or an identifier, and what AWS has named beside it: rows of the account,
-- and rows without any account that have one of its identifiers. Rows of another account are
-- another customer's, whatever identifier they have.
CREATE FUNCTION resolution.erase_customer(
    named text, of_seller text, by_actor text, for_reason text
) RETURNS TABLE (stored text, entries bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    accounts text[];
    identifiers text[];
    tokens bytea[];
    sellers text[];
    bodies bytea[];
    messages text[];
    naming text;
    outcomes bigint;
    customers bigint;
    agreements bigint;
    letters bigint;
    events bigint;
    malformed bigint;
    mentions bigint;
    audited bigint;
BEGIN
    SELECT array_agg(DISTINCT customer_aws_account_id) INTO accounts
    FROM (
        SELECT customer_aws_account_id FROM resolution.ledger
        WHERE
            named IN (customer_aws_account_id, customer_identifier)
            AND (of_seller IS NULL OR seller = of_seller)
        UNION ALL
        SELECT customer_aws_account_id FROM resolution.agreement
        WHERE
            named IN (customer_aws_account_id, customer_identifier)
            AND (of_seller IS NULL OR seller = of_seller)
        UNION ALL
        SELECT customer_aws_account_id FROM resolution.customer
        WHERE
            named IN (customer_aws_account_id, customer_identifier)
            AND (of_seller IS NULL OR seller = of_seller)
    ) AS seen
    WHERE customer_aws_account_id IS NOT NULL;
    accounts := coalesce(accounts, '{}');

    SELECT array_agg(DISTINCT customer_identifier) INTO identifiers
    FROM (
        SELECT named AS customer_identifier
        UNION ALL
        SELECT customer_identifier FROM resolution.ledger
        WHERE
            customer_aws_account_id = ANY(accounts)
            AND (of_seller IS NULL OR seller = of_seller)
        UNION ALL
        SELECT customer_identifier FROM resolution.agreement
        WHERE
            customer_aws_account_id = ANY(accounts)
            AND (of_seller IS NULL OR seller = of_seller)
        UNION ALL
        SELECT customer_identifier FROM resolution.customer
        WHERE
            customer_aws_account_id = ANY(accounts)
            AND (of_seller IS NULL OR seller = of_seller)
    ) AS seen
    WHERE customer_identifier IS NOT NULL;

    -- Whole words, each character taken for itself. Nothing shorter than eight: it names too much.
    SELECT '(?<![[:alnum:]])(' || string_agg(
        regexp_replace(name, '([^[:alnum:]])', '\\\1', 'g'), '|'
    ) || ')(?![[:alnum:]])' INTO naming
    FROM unnest(accounts || identifiers) AS name
    WHERE length(name) >= 8;

    IF by_actor ~ naming OR for_reason ~ naming THEN
        RAISE EXCEPTION 'actor or reason names the customer'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- Locked in the order in which workers write, so that neither waits for the other in a ring.
    SELECT array_agg(token_sha256), array_agg(seller) INTO tokens, sellers
    FROM (
        SELECT token_sha256, seller FROM resolution.ledger
        WHERE (of_seller IS NULL OR seller = of_seller) AND (
            customer_aws_account_id = ANY(accounts)
            OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
        )
        ORDER BY token_sha256, seller
        FOR UPDATE
    ) AS held;
    DELETE FROM resolution.ledger
    USING unnest(tokens, sellers) AS held (token_sha256, seller)
    WHERE ledger.token_sha256 = held.token_sha256 AND ledger.seller = held.seller;
    GET DIAGNOSTICS outcomes = ROW_COUNT;

    PERFORM FROM resolution.customer
    WHERE (of_seller IS NULL OR seller = of_seller) AND (
        customer_aws_account_id = ANY(accounts)
        OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
    )
    ORDER BY seller, customer
    FOR UPDATE;
    DELETE FROM resolution.customer
    WHERE (of_seller IS NULL OR seller = of_seller) AND (
        customer_aws_account_id = ANY(accounts)
        OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
    );
    GET DIAGNOSTICS customers = ROW_COUNT;

    PERFORM FROM resolution.agreement
    WHERE (of_seller IS NULL OR seller = of_seller) AND (
        customer_aws_account_id = ANY(accounts)
        OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
    )
    ORDER BY identity
    FOR UPDATE;
    DELETE FROM resolution.agreement
    WHERE (of_seller IS NULL OR seller = of_seller) AND (
        customer_aws_account_id = ANY(accounts)
        OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
    );
    GET DIAGNOSTICS agreements = ROW_COUNT;

    -- Letters of its tokens, and those whose clear text names it: what a publisher has written.
    WITH gone AS (
        DELETE FROM resolution.dead_letter
        WHERE (of_seller IS NULL OR seller = of_seller) AND (
            (token_sha256, seller) IN (
                SELECT token_sha256, seller FROM unnest(tokens, sellers) AS held (token_sha256, seller)
            )
            OR concat_ws(
                ' ', metadata, message_id, correlation_id, error_code, error_message
            ) ~ naming
        )
        RETURNING id, body_sha256, message_id
    ),

    -- As they were before: the letters take them with them.
    told AS (
        SELECT count(*) AS entries FROM resolution.letter_event
        WHERE letter_id IN (SELECT id FROM gone)
    )

    SELECT array_agg(body_sha256), array_agg(message_id), count(*), (SELECT entries FROM told)
    INTO bodies, messages, letters, events
    FROM gone;

    DELETE FROM resolution.malformed_message
    WHERE (body_sha256, message_id) IN (
        SELECT body_sha256, message_id FROM unnest(bodies, messages) AS gone (body_sha256, message_id)
    ) OR concat_ws(' ', message_id, reason) ~ naming;
    GET DIAGNOSTICS malformed = ROW_COUNT;

    -- What somebody has typed about other letters stays, without the name.
    WITH event AS (
        UPDATE resolution.letter_event
        SET
            reason = regexp_replace(reason, naming, '[erased]', 'g'),
            error_message = regexp_replace(error_message, naming, '[erased]', 'g')
        WHERE concat_ws(' ', reason, error_message) ~ naming
        RETURNING id
    ),

    replay AS (
        UPDATE resolution.replay
        SET
            reason = regexp_replace(reason, naming, '[erased]', 'g'),
            selection = regexp_replace(selection::text, naming, '[erased]', 'g')::jsonb
        WHERE concat_ws(' ', reason, selection) ~ naming
        RETURNING id
    )

    SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM replay) INTO mentions;

    -- Those are not touched: the audit only grows.
    SELECT count(*) INTO audited
    FROM resolution.audit
    WHERE concat_ws(' ', actor, reason, subject) ~ naming;

    IF outcomes + customers + agreements + letters + malformed + mentions > 0 THEN
        -- Counts, and not a digest of the name either: twelve digits are soon guessed.
        INSERT INTO resolution.audit (actor, reason, action, subject)
        VALUES (by_actor, for_reason, 'erase', jsonb_build_object(
            'seller', of_seller, 'outcomes', outcomes, 'customers', customers,
            'agreements', agreements, 'letters', letters, 'events', events,
            'malformed', malformed, 'mentions', mentions
        ));
    END IF;

    RETURN QUERY VALUES
        ('outcomes', outcomes), ('customers', customers), ('agreements', agreements),
        ('letters', letters), ('events', coalesce(events, 0)), ('malformed', malformed),
        ('mentions', mentions), ('audited', audited);
END
$$;

-- Whoever may use the schema could call them otherwise.
REVOKE ALL ON FUNCTION
    resolution.refuse_change(), resolution.refuse_other_outcome(), resolution.date_letter(),
    resolution.shred_payloads(integer), resolution.archive_letters(integer),
    resolution.prune_letters(interval, integer), resolution.prune_malformed(interval, integer),
    resolution.prune_replays(interval, integer), resolution.prune_ledger(interval, integer),
    resolution.prune_audit(interval, integer),
    resolution.erase_customer(text, text, text, text)
FROM PUBLIC;
