-- Looks at a database from the catalogue alone, which every role may read.
SELECT
    current_setting('server_version') AS server_version,
    current_setting('server_version_num')::int AS server_version_number,
    current_database() AS database,
    current_user AS role,
    current_setting('transaction_read_only') = 'on' AS read_only,
    pg_is_in_recovery() AS standby,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    EXISTS (SELECT FROM pg_namespace WHERE nspname = 'resolution') AS has_schema,
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
                'breaker'
            ]
        ) AS name
        WHERE
            NOT EXISTS (
                SELECT
                FROM pg_class AS rel
                INNER JOIN pg_namespace AS nsp ON rel.relnamespace = nsp.oid
                WHERE nsp.nspname = 'resolution' AND rel.relname = name
            )
    ) AS absent
