-- Reads letters that a worker of an older version has told, after the one with this id.
SELECT id, reason, error_code, error_message, failed_at
FROM resolution.dead_letter
WHERE grouped_at IS DISTINCT FROM failed_at AND id > $1
ORDER BY id
LIMIT $2
