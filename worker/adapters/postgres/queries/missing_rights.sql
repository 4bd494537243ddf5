-- Lists the rights that the worker needs and the current role lacks, as they are granted: by table,
-- or by column where deploy/postgres/grants.sql gives columns.
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
            'state', 'seller', 'reason', 'token_sha256', 'body_sha256', 'message_id',
            'occurrences', 'received_at', 'failed_at', 'redeemable_until'
        ]
    ),
    (
        'dead_letter', 'UPDATE',
        ARRAY[
            'state', 'seller', 'reason', 'error_code', 'error_message', 'token_sha256',
            'correlation_id', 'lane', 'metadata', 'attempts', 'occurrences', 'received_at',
            'failed_at', 'redeemable_until', 'sealed', 'seal_key_id', 'body_bytes'
        ]
    ),
    ('malformed_message', 'INSERT', NULL),
    ('schema_migration', 'SELECT', NULL),
    ('audit', 'SELECT', NULL),
    ('audit', 'INSERT', ARRAY['actor', 'reason', 'action', 'subject'])
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
    WHERE NOT has_column_privilege(tables.oid, att.attnum, needed.wanted)
    GROUP BY needed.name, needed.wanted
)

SELECT name, wanted, columns
FROM lacking
ORDER BY name, wanted
