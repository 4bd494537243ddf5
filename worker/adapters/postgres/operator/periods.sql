-- Reads the retention periods, in seconds; null for ever.
SELECT
    extract(EPOCH FROM ledger)::float8 AS ledger,
    extract(EPOCH FROM unresolved)::float8 AS unresolved,
    extract(EPOCH FROM dead_letters)::float8 AS dead_letters,
    extract(EPOCH FROM audit)::float8 AS audit
FROM resolution.retention
