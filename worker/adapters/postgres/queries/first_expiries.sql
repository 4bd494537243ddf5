-- Says of each reason when its first open dead letter can no longer be redeemed.
SELECT reason, min(redeemable_until) AS first_expiry
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
GROUP BY reason
