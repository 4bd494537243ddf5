-- Keeps messages that were given up for the first time, except of tokens that stand resolved.
INSERT INTO resolution.dead_letter (
    seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
    correlation_id, lane, metadata, attempts, received_at, first_failed_at, failed_at,
    redeemable_until, sealed, seal_key_id, body_bytes
)
SELECT DISTINCT ON (given.body_sha256, given.message_id)
    seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
    correlation_id, lane, metadata, attempts, received_at, failed_at, failed_at,
    redeemable_until, sealed, seal_key_id, body_bytes
FROM json_to_recordset($1::json) AS given (
    seller text, reason text, error_code text, error_message text, token_sha256 bytea,
    body_sha256 bytea, message_id text, correlation_id text, lane text, metadata text,
    attempts integer, received_at timestamptz, failed_at timestamptz,
    redeemable_until timestamptz, sealed bytea, seal_key_id text, body_bytes integer
)
WHERE NOT EXISTS (
    SELECT FROM resolution.ledger
    WHERE
        ledger.token_sha256 = given.token_sha256
        AND ledger.seller = given.seller
        AND ledger.status = 'resolved'
)
ORDER BY given.body_sha256, given.message_id, given.failed_at DESC
ON CONFLICT DO NOTHING
