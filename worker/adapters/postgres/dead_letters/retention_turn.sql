-- Takes the turn of retention in the whole fleet until the transaction ends, unless another worker
-- has it; and bounds the transaction, which is to give way to all that buyers wait for.
SELECT
    pg_try_advisory_xact_lock(7310583904412572) AS mine,
    set_config('lock_timeout', '100ms', TRUE) AS lock_timeout,
    set_config('statement_timeout', '3s', TRUE) AS statement_timeout
