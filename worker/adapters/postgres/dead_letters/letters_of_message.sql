-- Lists the letters of messages with one id, the newest failure first.
SELECT id
FROM resolution.dead_letter
WHERE message_id = $1
ORDER BY failed_at DESC, id DESC
LIMIT $2
