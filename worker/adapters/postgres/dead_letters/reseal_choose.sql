-- The next letters that are sealed to another key than this, locked so that none changes meanwhile.
SELECT id
FROM resolution.dead_letter
WHERE shredded_at IS NULL AND seal_key_id <> $1 AND id > $2
ORDER BY id
LIMIT $3
FOR UPDATE
