-- Lists the identities as which a seller's replicas may not call, and how many still would.
SELECT
    breaker.identity, breaker.code, breaker.message, breaker.opened_at, breaker.probes,
    breaker.seen_at,
    (
        SELECT count(*)
        FROM resolution.replica
        WHERE
            replica.seller = breaker.seller
            AND replica.identity = breaker.identity
            AND replica.expires_at > clock_timestamp()
    ) AS replicas
FROM resolution.breaker
WHERE breaker.seller = $1
ORDER BY breaker.opened_at, breaker.identity
