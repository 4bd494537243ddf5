-- Counts the tokens settled in the last $1 seconds, by status.
SELECT status, count(*) AS outcomes
FROM resolution.ledger
WHERE settled_at > now() - make_interval(secs => $1)
GROUP BY status
ORDER BY status
