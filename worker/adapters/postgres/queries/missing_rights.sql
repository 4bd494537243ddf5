-- Lists the rights that the worker needs and the current role lacks, as they are granted: by table,
-- by column where deploy/postgres/grants.sql gives columns, and by function.
WITH needed (name, wanted, columns) AS (
    VALUES
    ('ledger', 'SELECT', NULL),
    ('ledger', 'INSERT', NULL),
    ('ledger', 'UPDATE', NULL),
    ('customer', 'SELECT', NULL),
    ('customer', 'INSERT', NULL),
    ('customer', 'UPDATE', NULL),
    ('agreement', 'SELECT', NULL),
    ('agreement', 'INSERT', NULL),
    ('agreement', 'UPDATE', NULL),
    ('dead_letter', 'INSERT', NULL),
    (
        'dead_letter', 'SELECT',
        ARRAY[
            'id', 'state', 'seller', 'reason', 'token_sha256', 'body_sha256', 'message_id',
            'occurrences', 'received_at', 'failed_at', 'redeemable_until'
        ]
    ),
    (
        'dead_letter', 'UPDATE',
        ARRAY[
            'state', 'seller', 'reason', 'error_code', 'error_message', 'token_sha256',
            'correlation_id', 'lane', 'metadata', 'attempts', 'occurrences', 'received_at',
            'failed_at', 'redeemable_until', 'sealed', 'seal_key_id', 'body_bytes', 'group_key',
            'grouped_at', 'claimed_at', 'published_at', 'closed_at', 'shredded_at'
        ]
    ),
    (
        'letter_event', 'INSERT',
        ARRAY['letter_id', 'at', 'kind', 'error_code', 'error_message', 'attempts']
    ),
    ('malformed_message', 'INSERT', NULL),
    ('schema_migration', 'SELECT', NULL),
    ('stand_in', 'SELECT', NULL),
    ('quota', 'SELECT', NULL),
    ('quota', 'INSERT', NULL),
    ('quota', 'UPDATE', NULL),
    ('replica', 'SELECT', NULL),
    ('replica', 'INSERT', NULL),
    ('replica', 'UPDATE', NULL),
    ('replica', 'DELETE', NULL),
    ('breaker', 'SELECT', NULL),
    ('breaker', 'INSERT', NULL),
    ('breaker', 'UPDATE', NULL),
    ('breaker', 'DELETE', NULL),
    ('event_outbox', 'SELECT', NULL),
    ('event_outbox', 'INSERT', NULL),
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
    ('prune_audit', 'interval, integer')
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
    -- Guarded, for it refuses to be asked about a right that only whole tables have.
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
