-- Stores events in order, as many as there is room for; returns how many. Numbers are never reused,
-- so the oldest and the newest give an upper bound of the count; only near the limit rows are counted.
WITH given AS (
    SELECT *
    FROM json_to_recordset($1::json) AS told (
        place integer, routing_key text, message_id bytea, correlation_id bytea, body bytea,
        seller text, customer_aws_account_id text, customer_identifier text
    )
),

room AS (
    SELECT
        CASE
            WHEN ids.span + $2::bigint <= $3::bigint THEN $2::bigint
            ELSE $3::bigint - (SELECT count(*) FROM resolution.event_outbox)
        END AS events
    FROM (
        SELECT coalesce(max(id) - min(id) + 1, 0) AS span
        FROM resolution.event_outbox
    ) AS ids
),

added AS (
    INSERT INTO resolution.event_outbox (
        routing_key, message_id, correlation_id, body, seller, customer_aws_account_id,
        customer_identifier
    )
    SELECT
        routing_key, message_id, correlation_id, body, seller, customer_aws_account_id,
        customer_identifier
    FROM given
    WHERE place < (SELECT events FROM room)
    ORDER BY place
    RETURNING id
)

SELECT count(*) AS events
FROM added
