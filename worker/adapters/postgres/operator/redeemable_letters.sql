-- Counts the open dead letters whose token can still be redeemed, and returns the first expiry.
SELECT count(*) AS letters, min(redeemable_until) AS first_expiry
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
