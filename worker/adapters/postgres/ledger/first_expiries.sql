-- Returns, for each reason, the seconds until its first open dead letter expires.
SELECT reason, extract(EPOCH FROM min(redeemable_until) - now())::float8 AS seconds
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
GROUP BY reason
