-- Writes outcomes, one for each token, with the customers and agreements of those that are resolved,
-- whose dead letters it closes; returns the resulting rows of the outcomes it wrote.
--
-- $1: the outcomes, one for each token. $2: all of them, for the customers. $3, $4: whether to write
-- customers and agreements, and whether to close dead letters.
--
-- One statement, so that it can be a transaction of its own, for the price of one exchange with the
-- server. Each part begins when the one before it has locked all its rows, each in the order of its
-- keys, so that overlapping batches of two workers can't deadlock.
WITH settled AS (
    INSERT INTO resolution.ledger AS stood (
        seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
        customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
        error_code, error_message, advice, first_seen_at
    )
    SELECT
        seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
        customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
        error_code, error_message, advice, first_seen_at
    FROM json_to_recordset($1::json) AS given (
        seller text, token_sha256 bytea, status text, message_id text, attempts integer,
        received_at timestamptz, settled_at timestamptz, product_code text,
        customer_aws_account_id text, customer_identifier text, license_arn text, agreement_id text,
        offer_type text, error_code text, error_message text, advice text,
        first_seen_at timestamptz
    )
    ORDER BY token_sha256, seller
    ON CONFLICT (token_sha256, seller) DO UPDATE SET
        status = excluded.status,
        message_id = CASE
            WHEN excluded.received_at < stood.received_at THEN excluded.message_id
            ELSE stood.message_id
        END,
        attempts = excluded.attempts,
        received_at = least(stood.received_at, excluded.received_at),
        settled_at = excluded.settled_at,
        product_code = excluded.product_code,
        customer_aws_account_id = excluded.customer_aws_account_id,
        customer_identifier = excluded.customer_identifier,
        license_arn = excluded.license_arn,
        agreement_id = excluded.agreement_id,
        offer_type = excluded.offer_type,
        error_code = excluded.error_code,
        error_message = excluded.error_message,
        advice = excluded.advice,
        first_seen_at = least(coalesce(stood.first_seen_at, stood.settled_at), excluded.first_seen_at)
    WHERE
        stood.status <> 'resolved'
        AND (
            excluded.status = 'resolved'
            OR excluded.settled_at >= stood.settled_at
            -- Settled in the future, so by a clock that was wrong.
            OR stood.settled_at > clock_timestamp() + interval '10 seconds'
        )
    RETURNING
        seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
        customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
        error_code, error_message, first_seen_at
),

written AS MATERIALIZED (
    SELECT count(*) AS tokens
    FROM settled
),

-- Null never overwrites a value.
customers AS (
    INSERT INTO resolution.customer AS known (
        seller, customer_aws_account_id, customer_identifier, first_resolved_at, last_resolved_at
    )
    SELECT
        seller,
        (array_agg(customer_aws_account_id ORDER BY position DESC)
            FILTER (WHERE customer_aws_account_id IS NOT NULL))[1],
        (array_agg(customer_identifier ORDER BY position DESC)
            FILTER (WHERE customer_identifier IS NOT NULL))[1],
        min(settled_at),
        max(settled_at)
    FROM ROWS FROM (
        json_to_recordset($2::json) AS (
            seller text, status text, customer_aws_account_id text, customer_identifier text,
            settled_at timestamptz
        )
    ) WITH ORDINALITY AS given (
        seller, status, customer_aws_account_id, customer_identifier, settled_at, position
    )
    WHERE status = 'resolved' AND $3::boolean AND (SELECT tokens FROM written) >= 0
    GROUP BY seller, coalesce(customer_aws_account_id, customer_identifier)
    ORDER BY seller, coalesce(customer_aws_account_id, customer_identifier)
    ON CONFLICT (seller, customer) DO UPDATE SET
        customer_aws_account_id
            = coalesce(excluded.customer_aws_account_id, known.customer_aws_account_id),
        customer_identifier = coalesce(excluded.customer_identifier, known.customer_identifier),
        first_resolved_at = least(known.first_resolved_at, excluded.first_resolved_at),
        last_resolved_at = greatest(known.last_resolved_at, excluded.last_resolved_at)
    RETURNING seller
),

remembered AS MATERIALIZED (
    SELECT count(*) AS customers
    FROM customers
),

-- Null never overwrites a value, and the first offer type is kept. An agreement is identified by the
-- same expression as the table's column `identity`.
agreements AS (
    INSERT INTO resolution.agreement AS known (
        seller, customer_aws_account_id, customer_identifier, product_code, license_arn,
        agreement_id, offer_type, first_resolved_at, last_resolved_at
    )
    SELECT
        (array_agg(seller ORDER BY position))[1],
        (array_agg(customer_aws_account_id ORDER BY position DESC)
            FILTER (WHERE customer_aws_account_id IS NOT NULL))[1],
        (array_agg(customer_identifier ORDER BY position DESC)
            FILTER (WHERE customer_identifier IS NOT NULL))[1],
        (array_agg(product_code ORDER BY position DESC)
            FILTER (WHERE product_code IS NOT NULL))[1],
        license_arn,
        (array_agg(agreement_id ORDER BY position DESC)
            FILTER (WHERE agreement_id IS NOT NULL))[1],
        (array_agg(offer_type ORDER BY position)
            FILTER (WHERE offer_type IS NOT NULL))[1],
        min(settled_at),
        max(settled_at)
    FROM (
        SELECT
            *,
            CASE
                WHEN license_arn IS NOT NULL THEN ARRAY[license_arn]
                ELSE ARRAY[
                    seller, coalesce(customer_aws_account_id, customer_identifier), product_code
                ]
            END AS identity
        FROM ROWS FROM (
            json_to_recordset($2::json) AS (
                seller text, status text, customer_aws_account_id text, customer_identifier text,
                product_code text, license_arn text, agreement_id text, offer_type text,
                settled_at timestamptz
            )
        ) WITH ORDINALITY AS given (
            seller, status, customer_aws_account_id, customer_identifier, product_code, license_arn,
            agreement_id, offer_type, settled_at, position
        )
        WHERE status = 'resolved' AND $3::boolean AND (SELECT customers FROM remembered) >= 0
    ) AS named
    GROUP BY identity, license_arn
    ORDER BY identity
    ON CONFLICT (identity) DO UPDATE SET
        customer_aws_account_id
            = coalesce(excluded.customer_aws_account_id, known.customer_aws_account_id),
        customer_identifier = coalesce(excluded.customer_identifier, known.customer_identifier),
        product_code = coalesce(excluded.product_code, known.product_code),
        agreement_id = coalesce(excluded.agreement_id, known.agreement_id),
        offer_type = coalesce(known.offer_type, excluded.offer_type),
        first_resolved_at = least(known.first_resolved_at, excluded.first_resolved_at),
        last_resolved_at = greatest(known.last_resolved_at, excluded.last_resolved_at)
    RETURNING seller
),

-- A volatile function sees what this statement has written so far, and what others have committed
-- until now: letters of a transaction that the first part had to wait for, too (migration 0009).
closed AS MATERIALIZED (
    SELECT resolution.close_letters(json_agg(given)) AS letters
    FROM json_to_recordset($1::json) AS given (seller text, token_sha256 bytea, status text)
    WHERE
        status = 'resolved'
        AND $4::boolean
        AND (SELECT count(*) FROM agreements) >= 0
)

SELECT
    seller, token_sha256, status, message_id, attempts, received_at, settled_at, product_code,
    customer_aws_account_id, customer_identifier, license_arn, agreement_id, offer_type,
    error_code, error_message, first_seen_at
FROM settled
WHERE (SELECT count(*) FROM closed) = 1
