-- Finds malformed messages by their id.
SELECT body_sha256, message_id, reason, received_at
FROM resolution.malformed_message
WHERE left(message_id, 255) = left($1::text, 255) AND message_id = $1::text
ORDER BY received_at DESC
LIMIT 20
