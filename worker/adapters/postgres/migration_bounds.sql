-- Sets time limits for this transaction only: it waits briefly, because all traffic waits behind it.
SELECT
    set_config('lock_timeout', $1, true),
    set_config('statement_timeout', $2, true)
