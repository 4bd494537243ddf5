-- Lists the live replicas of a seller.
SELECT
    id AS replica, need, granted AS share, ceiling, identity, version, seen_at,
    refused_code, refused_message, refused_at, probes, accepted_at, suspected, skew_seconds,
    in_hand::text AS in_hand
FROM resolution.replica
WHERE seller = $1 AND expires_at > clock_timestamp()
ORDER BY id
