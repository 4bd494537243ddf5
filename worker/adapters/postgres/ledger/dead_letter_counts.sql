-- Counts the open dead letters by reason.
SELECT reason, count(*) AS letters
FROM resolution.dead_letter
WHERE state = 'open'
GROUP BY reason
