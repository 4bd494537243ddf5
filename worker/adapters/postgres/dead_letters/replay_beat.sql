-- Says that a replay is alive, and how far it is.
UPDATE resolution.replay
SET heartbeat_at = clock_timestamp(), published = $2, refused = $3
WHERE id = $1 AND state = 'running'
