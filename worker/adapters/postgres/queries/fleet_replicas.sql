-- Lists the live replicas of a seller.
SELECT id, need, granted, ceiling, identity, version, seen_at
FROM resolution.replica
WHERE seller = $1 AND expires_at > clock_timestamp()
ORDER BY id
