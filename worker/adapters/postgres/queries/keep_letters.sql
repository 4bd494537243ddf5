-- Keeps messages that were given up for the first time, except of tokens that stand resolved;
-- with each its history begins.
WITH given AS (
    SELECT DISTINCT ON (body_sha256, message_id) *
    FROM json_to_recordset($1::json) AS told (
        seller text, reason text, error_code text, error_message text, token_sha256 bytea,
        body_sha256 bytea, message_id text, correlation_id text, lane text, metadata text,
        attempts integer, received_at timestamptz, failed_at timestamptz,
        redeemable_until timestamptz, sealed bytea, seal_key_id text, body_bytes integer,
        group_key text
    )
    WHERE NOT EXISTS (
        SELECT FROM resolution.ledger
        WHERE
            ledger.token_sha256 = told.token_sha256
            AND ledger.seller = told.seller
            AND ledger.status = 'resolved'
    )
    ORDER BY body_sha256, message_id, failed_at DESC
),

kept AS (
    INSERT INTO resolution.dead_letter (
        seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
        correlation_id, lane, metadata, attempts, received_at, first_failed_at, failed_at,
        redeemable_until, sealed, seal_key_id, body_bytes, group_key, grouped_at
    )
    SELECT
        seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
        correlation_id, lane, metadata, attempts, received_at, failed_at, failed_at,
        redeemable_until, sealed, seal_key_id, body_bytes, group_key, failed_at
    FROM given
    ORDER BY body_sha256, message_id
    ON CONFLICT DO NOTHING
    RETURNING id, body_sha256, message_id
)

INSERT INTO resolution.letter_event (
    letter_id, at, kind, error_code, error_message, attempts
)
SELECT kept.id, given.failed_at, 'failed', given.error_code, given.error_message, given.attempts
FROM kept
INNER JOIN given USING (body_sha256, message_id)
ORDER BY kept.id
