-- Reads what a worker must find before it can work: the schema's version, a database that takes
-- writes, and the right to write each table.
SELECT
    (SELECT coalesce(max(version), 0) FROM resolution.schema_migration) AS version,
    current_setting('transaction_read_only') = 'on' AS read_only,
    ARRAY(
        SELECT name
        FROM unnest(
            ARRAY[
                'ledger', 'customer', 'agreement', 'dead_letter', 'malformed_message',
                'event_outbox'
            ]
        ) AS name
        WHERE NOT has_table_privilege(to_regclass(format('resolution.%I', name)), 'INSERT')
    ) AS forbidden
