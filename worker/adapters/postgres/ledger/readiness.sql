-- Reads what a worker must check before it can work: the schema's version, whether the database is
-- writable, and which tables the role may not write, directly or through a function.
SELECT
    (SELECT coalesce(max(version), 0) FROM resolution.schema_migration) AS version,
    current_setting('transaction_read_only') = 'on' AS read_only,
    ARRAY(
        SELECT name
        FROM unnest(ARRAY['ledger', 'customer', 'agreement', 'event_outbox']) AS name
        WHERE NOT has_any_column_privilege(to_regclass(format('resolution.%I', name)), 'INSERT')
        UNION ALL
        SELECT name
        FROM (
            VALUES
            ('dead_letter', 'resolution.tell_letters(json)'),
            ('malformed_message', 'resolution.note_malformed(json)')
        ) AS written (name, by_function)
        WHERE NOT has_function_privilege(to_regprocedure(by_function), 'EXECUTE')
    ) AS forbidden
