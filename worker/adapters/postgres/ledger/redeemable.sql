-- Counts the open dead letters whose token can still be redeemed.
SELECT count(*) AS letters
FROM resolution.dead_letter
WHERE state = 'open' AND redeemable_until > now()
