-- Takes the turn to probe, one a second for all replicas together. Returns no row where it is not
-- due.
UPDATE resolution.quota
SET last_probe_at = clock_timestamp()
WHERE
    seller = $1
    AND coalesce(last_probe_at <= clock_timestamp() - interval '1 second', TRUE)
RETURNING last_probe_at
