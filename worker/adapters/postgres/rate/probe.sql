-- Takes the turn to probe, one a second for all replicas together. Returns no row if none is due.
SELECT taken
FROM resolution.take_probe($1) AS taken
WHERE taken
