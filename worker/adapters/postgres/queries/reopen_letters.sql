-- Reopens letters of other submissions of tokens that have failed: they were replayed together,
-- and only one of them told its own letter.
WITH given AS (
    SELECT DISTINCT ON (token_sha256, seller) *
    FROM json_to_recordset($1::json) AS told (
        seller text, reason text, error_code text, error_message text, token_sha256 bytea,
        attempts integer, failed_at timestamptz, redeemable_until timestamptz, group_key text
    )
    WHERE token_sha256 IS NOT NULL
    ORDER BY token_sha256, seller, failed_at DESC
),

reopened AS (
    UPDATE resolution.dead_letter AS kept
    SET
        state = 'open',
        occurrences = kept.occurrences + 1,
        reason = given.reason,
        error_code = given.error_code,
        error_message = given.error_message,
        attempts = given.attempts,
        failed_at = given.failed_at,
        redeemable_until = given.redeemable_until,
        group_key = given.group_key,
        grouped_at = given.failed_at
    FROM given
    WHERE
        kept.token_sha256 = given.token_sha256
        AND kept.seller = given.seller
        AND kept.state = 'replaying'
        AND kept.failed_at < given.failed_at
        AND NOT EXISTS (
            SELECT FROM resolution.ledger
            WHERE
                ledger.token_sha256 = given.token_sha256
                AND ledger.seller = given.seller
                AND ledger.status = 'resolved'
        )
    RETURNING kept.id, kept.token_sha256, kept.seller
)

INSERT INTO resolution.letter_event (
    letter_id, at, kind, error_code, error_message, attempts
)
SELECT reopened.id, given.failed_at, 'failed', given.error_code, given.error_message, given.attempts
FROM reopened
INNER JOIN given USING (token_sha256, seller)
ORDER BY reopened.id
