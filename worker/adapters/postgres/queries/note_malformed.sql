-- Notes messages that could not be read; one told again is noted once.
INSERT INTO resolution.malformed_message (body_sha256, message_id, reason, received_at)
SELECT body_sha256, message_id, reason, received_at
FROM json_to_recordset($1::json) AS given (
    body_sha256 bytea, message_id text, reason text, received_at timestamptz
)
ORDER BY body_sha256, message_id
ON CONFLICT DO NOTHING
