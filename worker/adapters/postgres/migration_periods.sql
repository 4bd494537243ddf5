-- Sets the given retention periods: seconds, null for ever.
UPDATE resolution.retention
SET
    ledger = CASE
        WHEN given -> 'ledger' IS NULL THEN ledger
        ELSE make_interval(secs => (given ->> 'ledger')::float8)
    END,
    unresolved = CASE
        WHEN given -> 'unresolved' IS NULL THEN unresolved
        ELSE make_interval(secs => (given ->> 'unresolved')::float8)
    END,
    dead_letters = CASE
        WHEN given -> 'dead_letters' IS NULL THEN dead_letters
        ELSE make_interval(secs => (given ->> 'dead_letters')::float8)
    END,
    audit = CASE
        WHEN given -> 'audit' IS NULL THEN audit
        ELSE make_interval(secs => (given ->> 'audit')::float8)
    END
FROM (SELECT $1::json AS given) AS wanted
