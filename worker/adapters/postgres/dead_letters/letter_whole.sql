-- Reads all about letters but what is sealed in them, by id or by message.
SELECT
    letter.id, letter.state, letter.seller, letter.reason, letter.error_code,
    letter.error_message, letter.group_key, letter.message_id, letter.token_sha256,
    letter.attempts, letter.occurrences, letter.replays, letter.received_at,
    letter.first_failed_at, letter.failed_at, letter.redeemable_until,
    letter.body_sha256, letter.body_bytes, letter.correlation_id, letter.lane,
    letter.metadata, letter.seal_key_id, letter.closed_at, letter.shredded_at,
    letter.shredded_at IS NULL AS is_kept
FROM resolution.dead_letter AS letter
WHERE letter.id = $1
