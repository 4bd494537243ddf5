-- How many payloads are sealed to which key.
SELECT seal_key_id, count(*) AS letters, max(failed_at) AS newest
FROM resolution.dead_letter
WHERE shredded_at IS NULL
GROUP BY seal_key_id
ORDER BY seal_key_id
