-- Says of each reason in how many seconds its first open dead letter can no longer be redeemed.
SELECT reason, extract(EPOCH FROM min(redeemable_until) - now())::float8 AS seconds
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
GROUP BY reason
