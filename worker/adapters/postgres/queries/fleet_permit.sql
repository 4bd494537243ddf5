-- Takes the next single permit, one interval after the last, and returns the seconds until it may
-- be used. One that was put far off while the rate was lower is drawn nearer.
UPDATE resolution.quota
SET
    next_permit_at = greatest(
        clock_timestamp(),
        least(
            coalesce(next_permit_at, '-infinity'),
            clock_timestamp() + make_interval(secs => greatest($2::float8, replicas / rate))
        )
    ) + make_interval(secs => 1 / rate)
WHERE seller = $1 AND rate IS NOT NULL
RETURNING
    extract(
        EPOCH FROM next_permit_at - make_interval(secs => 1 / rate) - clock_timestamp()
    )::float8 AS seconds,
    set_config('synchronous_commit', 'off', TRUE) AS unsynchronised
