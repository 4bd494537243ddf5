-- Closes the breaker for an identity.
DELETE FROM resolution.breaker
WHERE seller = $1 AND identity = $2
