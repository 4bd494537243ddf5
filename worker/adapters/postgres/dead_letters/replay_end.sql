-- Ends a replay.
UPDATE resolution.replay
SET
    state = $2, published = $3, refused = $4,
    heartbeat_at = clock_timestamp(), finished_at = clock_timestamp()
WHERE id = $1
