-- The next letters that are sealed to another key than this, locked so that none changes meanwhile.
SELECT id, seal_key_id, sealed
FROM resolution.dead_letter
WHERE sealed IS NOT NULL AND seal_key_id <> $1 AND id > $2
ORDER BY id
LIMIT $3
FOR UPDATE
