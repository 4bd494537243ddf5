-- Lists the rights that the worker needs and the current role lacks, as they are granted: by table,
-- by column where deploy/postgres/grants.sql grants columns, and by function.
WITH needed (name, wanted, columns) AS (
    VALUES
    ('ledger', 'SELECT', NULL),
    ('ledger', 'INSERT', NULL),
    (
        'ledger', 'UPDATE',
        ARRAY[
            'status', 'message_id', 'attempts', 'received_at', 'settled_at', 'product_code',
            'customer_aws_account_id', 'customer_identifier', 'license_arn', 'agreement_id',
            'offer_type', 'error_code', 'error_message', 'advice', 'first_seen_at'
        ]
    ),
    ('customer', 'SELECT', NULL),
    ('customer', 'INSERT', NULL),
    (
        'customer', 'UPDATE',
        ARRAY[
            'customer_aws_account_id', 'customer_identifier', 'first_resolved_at',
            'last_resolved_at'
        ]
    ),
    ('agreement', 'SELECT', NULL),
    ('agreement', 'INSERT', NULL),
    (
        'agreement', 'UPDATE',
        ARRAY[
            'customer_aws_account_id', 'customer_identifier', 'product_code', 'agreement_id',
            'offer_type', 'first_resolved_at', 'last_resolved_at'
        ]
    ),
    (
        'dead_letter', 'SELECT',
        ARRAY[
            'id', 'state', 'seller', 'reason', 'token_sha256', 'body_sha256', 'message_id',
            'occurrences', 'received_at', 'failed_at', 'redeemable_until'
        ]
    ),
    ('schema_migration', 'SELECT', NULL),
    ('stand_in', 'SELECT', NULL),
    ('retention', 'SELECT', NULL),
    ('quota', 'SELECT', NULL),
    ('replica', 'SELECT', NULL),
    ('broker_queue', 'SELECT', NULL),
    ('event_outbox', 'SELECT', NULL),
    (
        'event_outbox', 'INSERT',
        ARRAY[
            'routing_key', 'message_id', 'correlation_id', 'body', 'seller',
            'customer_aws_account_id', 'customer_identifier'
        ]
    ),
    ('event_outbox', 'DELETE', NULL),
    ('event_outbox_turn', 'SELECT', NULL),
    ('event_outbox_turn', 'INSERT', NULL),
    ('event_outbox_turn', 'UPDATE', NULL),
    ('audit', 'SELECT', NULL),
    ('audit', 'INSERT', ARRAY['actor', 'reason', 'action', 'subject'])
),

called (name, arguments) AS (
    VALUES
    ('shred_payloads', 'integer'),
    ('archive_letters', 'integer'),
    ('prune_letters', 'interval, integer'),
    ('prune_malformed', 'interval, integer'),
    ('prune_replays', 'interval, integer'),
    ('prune_ledger', 'interval, integer'),
    ('prune_unresolved', 'interval, integer'),
    ('prune_audit', 'interval, integer'),
    ('tell_letters', 'json'),
    ('close_letters', 'json'),
    ('note_malformed', 'json'),
    (
        'lease',
        'text, bigint, json, double precision, boolean, integer, text, double precision, '
        'double precision, double precision, text, json'
    ),
    ('leave', 'text, text'),
    ('permit', 'text'),
    ('take_probe', 'text'),
    ('pause', 'text, text, text'),
    ('resume', 'text, text, text'),
    ('set_ceiling', 'text, double precision, text, text'),
    ('search_again', 'text, text, text'),
    ('note_queues', 'text[], text[]'),
    ('acknowledge_queues', 'text, text')
),

tables AS (
    SELECT rel.oid, rel.relname
    FROM pg_class AS rel
    INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
    WHERE nsp.nspname = 'resolution'
),

lacking AS (
    SELECT
        'SCHEMA resolution' AS name,
        'USAGE' AS wanted,
        '{}'::text[] AS columns
    FROM pg_namespace
    WHERE nspname = 'resolution' AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT
        'resolution.' || needed.name,
        needed.wanted,
        '{}'::text[]
    FROM needed
    INNER JOIN tables ON needed.name = tables.relname
    WHERE needed.columns IS NULL AND NOT has_table_privilege(tables.oid, needed.wanted)
    UNION ALL
    SELECT
        'resolution.' || needed.name,
        needed.wanted,
        array_agg(att.attname::text ORDER BY att.attname)
    FROM needed
    INNER JOIN tables ON needed.name = tables.relname
    INNER JOIN pg_attribute AS att
        ON tables.oid = att.attrelid AND att.attname = ANY(needed.columns)
    -- In a CASE, because the function raises an error for a right that only whole tables have.
    WHERE
        CASE
            WHEN needed.columns IS NOT NULL
                THEN NOT has_column_privilege(tables.oid, att.attnum, needed.wanted)
        END
    GROUP BY needed.name, needed.wanted
    UNION ALL
    SELECT
        format('FUNCTION resolution.%s(%s)', called.name, called.arguments),
        'EXECUTE',
        '{}'::text[]
    FROM called
    INNER JOIN pg_proc AS fun
        ON called.name = fun.proname AND called.arguments = oidvectortypes(fun.proargtypes)
    INNER JOIN pg_namespace AS nsp ON fun.pronamespace = nsp.oid
    WHERE nsp.nspname = 'resolution' AND NOT has_function_privilege(fun.oid, 'EXECUTE')
)

SELECT name, wanted, columns
FROM lacking
ORDER BY name, wanted
