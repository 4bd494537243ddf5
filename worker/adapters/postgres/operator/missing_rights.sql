-- Lists the rights that one of our roles needs ($1: worker, operator or reader) and the current role
-- lacks, as they are granted: by table, by column where deploy/postgres/grants.sql grants columns, and
-- by function.
WITH needed (whose, name, wanted, columns) AS (
    VALUES
    ('worker', 'ledger', 'SELECT', NULL),
    ('worker', 'ledger', 'INSERT', NULL),
    (
        'worker', 'ledger', 'UPDATE',
        ARRAY[
            'status', 'message_id', 'attempts', 'received_at', 'settled_at', 'product_code',
            'customer_aws_account_id', 'customer_identifier', 'license_arn', 'agreement_id',
            'offer_type', 'error_code', 'error_message', 'advice', 'first_seen_at'
        ]
    ),
    ('worker', 'customer', 'SELECT', NULL),
    ('worker', 'customer', 'INSERT', NULL),
    (
        'worker', 'customer', 'UPDATE',
        ARRAY[
            'customer_aws_account_id', 'customer_identifier', 'first_resolved_at',
            'last_resolved_at'
        ]
    ),
    ('worker', 'agreement', 'SELECT', NULL),
    ('worker', 'agreement', 'INSERT', NULL),
    (
        'worker', 'agreement', 'UPDATE',
        ARRAY[
            'customer_aws_account_id', 'customer_identifier', 'product_code', 'agreement_id',
            'offer_type', 'first_resolved_at', 'last_resolved_at'
        ]
    ),
    (
        'worker', 'dead_letter', 'SELECT',
        ARRAY[
            'id', 'state', 'seller', 'reason', 'token_sha256', 'body_sha256', 'message_id',
            'occurrences', 'received_at', 'failed_at', 'redeemable_until'
        ]
    ),
    ('worker', 'schema_migration', 'SELECT', NULL),
    ('worker', 'stand_in', 'SELECT', NULL),
    ('worker', 'retention', 'SELECT', NULL),
    ('worker', 'quota', 'SELECT', NULL),
    ('worker', 'replica', 'SELECT', NULL),
    ('worker', 'broker_queue', 'SELECT', NULL),
    ('worker', 'event_outbox', 'SELECT', NULL),
    (
        'worker', 'event_outbox', 'INSERT',
        ARRAY[
            'routing_key', 'message_id', 'correlation_id', 'body', 'seller',
            'customer_aws_account_id', 'customer_identifier'
        ]
    ),
    ('worker', 'event_outbox', 'DELETE', NULL),
    ('worker', 'event_outbox_turn', 'SELECT', NULL),
    ('worker', 'event_outbox_turn', 'INSERT', NULL),
    ('worker', 'event_outbox_turn', 'UPDATE', NULL),
    ('worker', 'audit', 'SELECT', NULL),
    ('worker', 'audit', 'INSERT', ARRAY['actor', 'reason', 'action', 'subject']),
    ('reader', 'outcomes', 'SELECT', NULL),
    ('reader', 'agreements', 'SELECT', NULL),
    ('reader', 'malformed', 'SELECT', NULL),
    ('operator', 'ledger', 'SELECT', NULL),
    ('operator', 'customer', 'SELECT', NULL),
    ('operator', 'agreement', 'SELECT', NULL),
    ('operator', 'malformed_message', 'SELECT', NULL),
    ('operator', 'letter_event', 'SELECT', NULL),
    ('operator', 'replay', 'SELECT', NULL),
    ('operator', 'audit', 'SELECT', NULL),
    ('operator', 'schema_migration', 'SELECT', NULL),
    ('operator', 'outcomes', 'SELECT', NULL),
    ('operator', 'agreements', 'SELECT', NULL),
    ('operator', 'malformed', 'SELECT', NULL),
    ('operator', 'event_outbox', 'SELECT', NULL),
    ('operator', 'event_outbox_turn', 'SELECT', NULL),
    ('operator', 'quota', 'SELECT', NULL),
    ('operator', 'replica', 'SELECT', NULL),
    ('operator', 'letter_count', 'SELECT', NULL),
    ('operator', 'retention', 'SELECT', NULL),
    ('operator', 'broker_queue', 'SELECT', NULL),
    (
        'operator', 'dead_letter', 'SELECT',
        ARRAY[
            'id', 'state', 'seller', 'reason', 'error_code', 'error_message', 'token_sha256',
            'body_sha256', 'message_id', 'correlation_id', 'lane', 'metadata', 'attempts',
            'occurrences', 'received_at', 'first_failed_at', 'failed_at', 'redeemable_until',
            'seal_key_id', 'body_bytes', 'group_key', 'grouped_at', 'replays', 'replay_id',
            'claimed_at', 'published_at', 'closed_at', 'shredded_at'
        ]
    ),
    (
        'operator', 'dead_letter', 'UPDATE',
        ARRAY[
            'state', 'seller', 'token_sha256', 'message_id', 'group_key', 'grouped_at',
            'replays', 'replay_id', 'claimed_at', 'published_at', 'closed_at'
        ]
    ),
    (
        'operator', 'letter_event', 'INSERT',
        ARRAY[
            'letter_id', 'kind', 'error_code', 'error_message', 'attempts', 'actor', 'reason',
            'replay_id'
        ]
    ),
    (
        'operator', 'replay', 'INSERT',
        ARRAY[
            'actor', 'reason', 'selection', 'chosen'
        ]
    ),
    (
        'operator', 'replay', 'UPDATE',
        ARRAY[
            'state', 'heartbeat_at', 'finished_at', 'chosen', 'published', 'refused'
        ]
    ),
    (
        'operator', 'audit', 'INSERT',
        ARRAY[
            'actor', 'reason', 'action', 'subject'
        ]
    )
),

called (whose, name, arguments) AS (
    VALUES
    ('worker', 'shred_payloads', 'integer'),
    ('worker', 'archive_letters', 'integer'),
    ('worker', 'prune_letters', 'interval, integer'),
    ('worker', 'prune_malformed', 'interval, integer'),
    ('worker', 'prune_replays', 'interval, integer'),
    ('worker', 'prune_ledger', 'interval, integer'),
    ('worker', 'prune_unresolved', 'interval, integer'),
    ('worker', 'prune_audit', 'interval, integer'),
    ('worker', 'tell_letters', 'json'),
    ('worker', 'close_letters', 'json'),
    ('worker', 'note_malformed', 'json'),
    (
        'worker', 'lease',
        'text, bigint, json, double precision, boolean, integer, text, double precision, '
        'double precision, double precision, text, json'
    ),
    ('worker', 'leave', 'text, text'),
    ('worker', 'permit', 'text'),
    ('worker', 'take_probe', 'text'),
    ('worker', 'pause', 'text, text, text'),
    ('worker', 'pause', 'text, text, text, double precision'),
    ('worker', 'resume', 'text, text, text'),
    ('worker', 'set_ceiling', 'text, double precision, text, text'),
    ('worker', 'search_again', 'text, text, text'),
    ('worker', 'note_queues', 'text[], text[]'),
    ('worker', 'acknowledge_queues', 'text, text'),
    ('operator', 'pause', 'text, text, text'),
    ('operator', 'pause', 'text, text, text, double precision'),
    ('operator', 'resume', 'text, text, text'),
    ('operator', 'set_ceiling', 'text, double precision, text, text'),
    ('operator', 'search_again', 'text, text, text'),
    ('operator', 'acknowledge_queues', 'text, text'),
    ('operator', 'open_payloads', 'json, text, text, text, json'),
    ('operator', 'reseal_payloads', 'json, text, text, text'),
    ('operator', 'erase_customer', 'text, text, text, text')
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
    WHERE needed.whose = $1 AND needed.columns IS NULL AND NOT has_table_privilege(tables.oid, needed.wanted)
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
        needed.whose = $1
        AND CASE
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
    WHERE
        called.whose = $1
        AND nsp.nspname = 'resolution'
        AND NOT has_function_privilege(fun.oid, 'EXECUTE')
)

SELECT name, wanted, columns
FROM lacking
ORDER BY name, wanted
