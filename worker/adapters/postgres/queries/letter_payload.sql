-- Reads what is sealed in a letter.
SELECT sealed, seal_key_id, body_bytes, shredded_at
FROM resolution.dead_letter
WHERE id = $1
