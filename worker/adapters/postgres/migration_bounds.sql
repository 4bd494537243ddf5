-- Bounds a migration, in this transaction alone: it waits little, for all traffic waits behind it.
SELECT
    set_config('lock_timeout', $1, true),
    set_config('statement_timeout', $2, true)
