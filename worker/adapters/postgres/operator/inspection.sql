-- Inspects a database through the system catalogue only, which every role may read.
SELECT
    current_setting('server_version') AS server_version,
    current_setting('server_version_num')::int AS server_version_number,
    current_setting('server_encoding') AS encoding,
    current_database() AS database,
    current_user AS role,
    current_setting('transaction_read_only') = 'on' AS read_only,
    pg_is_in_recovery() AS standby,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    EXISTS (SELECT FROM pg_namespace WHERE nspname = 'resolution') AS has_schema,
    -- Which of our roles it is, by membership, or by what only that role may do. All else is taken for
    -- a worker's, which may lack rights.
    CASE
        WHEN
            EXISTS (
                SELECT FROM pg_roles
                WHERE
                    pg_has_role(oid, 'USAGE')
                    AND (rolname = 'resolution_worker' OR (rolname = current_user AND rolsuper))
            )
            THEN 'worker'
        WHEN
            EXISTS (
                SELECT FROM pg_roles
                WHERE rolname = 'resolution_operator' AND pg_has_role(oid, 'USAGE')
            )
            OR EXISTS (
                SELECT
                FROM pg_proc AS fun
                INNER JOIN pg_namespace AS nsp ON fun.pronamespace = nsp.oid
                WHERE
                    nsp.nspname = 'resolution'
                    AND fun.proname = 'open_payloads'
                    AND has_function_privilege(fun.oid, 'EXECUTE')
                    AND NOT pg_has_role(fun.proowner, 'USAGE')
            )
            THEN 'operator'
        WHEN
            EXISTS (
                SELECT FROM pg_roles
                WHERE rolname = 'resolution_reader' AND pg_has_role(oid, 'USAGE')
            )
            THEN 'reader'
        ELSE 'worker'
    END AS whose,
    coalesce(
        (
            SELECT
                has_schema_privilege(nsp.oid, 'USAGE')
                AND has_table_privilege(rel.oid, 'SELECT')
            FROM pg_class AS rel
            INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
            WHERE nsp.nspname = 'resolution' AND rel.relname = 'schema_migration'
        ),
        FALSE
    ) AS may_read_version,
    ARRAY(
        SELECT name
        FROM unnest(
            ARRAY[
                'schema_migration', 'ledger', 'customer', 'agreement', 'dead_letter',
                'letter_event', 'replay', 'malformed_message', 'audit', 'quota', 'replica',
                'event_outbox', 'event_outbox_turn', 'stand_in', 'retention', 'letter_count',
                'broker_queue'
            ]
        ) AS name
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_class AS rel
                INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
                WHERE nsp.nspname = 'resolution' AND rel.relname = name
            )
    ) AS absent,
    ARRAY(
        SELECT 'view resolution.' || name
        FROM unnest(ARRAY['outcomes', 'agreements', 'malformed']) AS name
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_class AS rel
                INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
                WHERE nsp.nspname = 'resolution' AND rel.relname = name
            )
        UNION ALL
        SELECT format('function resolution.%s(%s)', name, arguments)
        FROM (
            VALUES
            ('refuse_change', ''),
            ('refuse_other_outcome', ''),
            ('date_letter', ''),
            ('shred_payloads', 'integer'),
            ('archive_letters', 'integer'),
            ('prune_letters', 'interval, integer'),
            ('prune_malformed', 'interval, integer'),
            ('prune_replays', 'interval, integer'),
            ('prune_ledger', 'interval, integer'),
            ('prune_unresolved', 'interval, integer'),
            ('prune_audit', 'interval, integer'),
            ('most_letters', 'text, text, boolean'),
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
            ('write_audit', 'text, text, text, jsonb'),
            ('hold_quota', 'text'),
            ('pause', 'text, text, text'),
            ('pause', 'text, text, text, double precision'),
            ('end_pause', ''),
            ('resume', 'text, text, text'),
            ('set_ceiling', 'text, double precision, text, text'),
            ('search_again', 'text, text, text'),
            ('note_queues', 'text[], text[]'),
            ('acknowledge_queues', 'text, text'),
            ('open_payloads', 'json, text, text, text, json'),
            ('reseal_payloads', 'json, text, text, text'),
            ('erase_customer', 'text, text, text, text')
        ) AS wanted (name, arguments)
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_proc AS fun
                INNER JOIN pg_namespace AS nsp ON fun.pronamespace = nsp.oid
                WHERE
                    nsp.nspname = 'resolution'
                    AND fun.proname = name
                    AND oidvectortypes(fun.proargtypes) = arguments
            )
        UNION ALL
        SELECT format('trigger %s on resolution.%s', name, rel_name)
        FROM (
            VALUES
            ('audit_only_grows', 'audit'),
            ('ledger_resolved_is_final', 'ledger'),
            ('dead_letter_dated', 'dead_letter'),
            ('quota_pause_ends', 'quota')
        ) AS wanted (name, rel_name)
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_trigger AS tri
                INNER JOIN pg_class AS rel ON tri.tgrelid = rel.oid
                INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
                WHERE
                    nsp.nspname = 'resolution'
                    AND rel.relname = rel_name
                    AND tri.tgname = name
            )
    ) AS absent_parts,
    -- Not reported for the owner or a superuser, who always have these rights.
    EXISTS (
        SELECT
        FROM pg_class AS rel
        INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
        WHERE
            nsp.nspname = 'resolution'
            AND rel.relname = 'quota'
            AND has_table_privilege(rel.oid, 'UPDATE')
            AND NOT pg_has_role(rel.relowner, 'USAGE')
    ) AS writes_directly
