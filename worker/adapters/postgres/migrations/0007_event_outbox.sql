-- Events that the broker has refused, for a queue of an observer's is full: a transactional outbox.
-- Workers of the version before know nothing of it, and go on publishing events themselves.

CREATE TABLE resolution.event_outbox (
    -- Their order.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    routing_key text COLLATE "C" NOT NULL,
    -- Bytes as they were to be sent, whatever text they are: no row is ever refused for them.
    message_id bytea NOT NULL,
    correlation_id bytea,
    body bytea NOT NULL,
    -- Whom it tells of, so that an erasure finds it; null where it tells of nobody.
    seller text,
    customer_aws_account_id text,
    customer_identifier text,
    stored_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX event_outbox_by_key ON resolution.event_outbox (routing_key, id);

-- Which replica sends them. A turn that is not kept up is free once it has run out.
CREATE TABLE resolution.event_outbox_turn (
    one boolean PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder text NOT NULL,
    held_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- --- one customer: the function of migration 5, and the events that wait ---

-- Removes what is stored of a customer, and audits that it did: who may call this can't but leave
-- an entry. Says of each table how many rows went; all zero, and no entry, where nothing is stored.
--
-- A customer is an account or an identifier, and what AWS has named beside it: rows of the account,
-- and rows without any account that have one of its identifiers. Rows of another account are
-- another customer's, whatever identifier they have.
CREATE OR REPLACE FUNCTION resolution.erase_customer(
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
    unsent bigint;
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
        UNION ALL
        SELECT customer_aws_account_id FROM resolution.event_outbox
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
        UNION ALL
        SELECT customer_identifier FROM resolution.event_outbox
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

    -- Events that wait for an observer: its own, and those of nobody that name it in what a
    -- publisher has written.
    WITH held AS (
        SELECT id FROM resolution.event_outbox
        WHERE (of_seller IS NULL OR coalesce(seller, of_seller) = of_seller) AND (
            customer_aws_account_id = ANY(accounts)
            OR customer_aws_account_id IS NULL AND customer_identifier = ANY(identifiers)
            OR customer_aws_account_id IS NULL AND customer_identifier IS NULL AND concat_ws(
                ' ', encode(message_id, 'escape'), encode(correlation_id, 'escape'),
                encode(body, 'escape')
            ) ~ naming
        )
        ORDER BY id
        FOR UPDATE
    )

    DELETE FROM resolution.event_outbox USING held WHERE event_outbox.id = held.id;
    GET DIAGNOSTICS unsent = ROW_COUNT;
    -- Counted together, so that a program of the version before can read what is returned.
    events := coalesce(events, 0) + unsent;

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

    IF outcomes + customers + agreements + letters + events + malformed + mentions > 0 THEN
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
        ('letters', letters), ('events', events), ('malformed', malformed),
        ('mentions', mentions), ('audited', audited);
END
$$;
