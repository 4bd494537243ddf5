-- Counts the open dead letters whose token could still be redeemed, and says when the first expires.
SELECT count(*) AS letters, min(redeemable_until) AS first_expiry
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
