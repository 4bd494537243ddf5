-- Refreshes the letters of messages that were given up before, except of tokens that stand
-- resolved. Told again while its letter is open it is the same death; after a replay, another.
-- Not ON CONFLICT DO UPDATE, for which a role must be able to read what it overwrites.
UPDATE resolution.dead_letter AS kept
SET
    state = 'open',
    occurrences = kept.occurrences + (kept.state <> 'open')::integer,
    seller = given.seller,
    reason = given.reason,
    error_code = given.error_code,
    error_message = given.error_message,
    token_sha256 = coalesce(given.token_sha256, kept.token_sha256),
    correlation_id = given.correlation_id,
    lane = given.lane,
    metadata = given.metadata,
    attempts = given.attempts,
    received_at = least(kept.received_at, given.received_at),
    failed_at = given.failed_at,
    redeemable_until = given.redeemable_until,
    sealed = given.sealed,
    seal_key_id = given.seal_key_id,
    body_bytes = given.body_bytes
FROM (
    SELECT DISTINCT ON (body_sha256, message_id) *
    FROM json_to_recordset($1::json) AS told (
        seller text, reason text, error_code text, error_message text, token_sha256 bytea,
        body_sha256 bytea, message_id text, correlation_id text, lane text, metadata text,
        attempts integer, received_at timestamptz, failed_at timestamptz,
        redeemable_until timestamptz, sealed bytea, seal_key_id text, body_bytes integer
    )
    ORDER BY body_sha256, message_id, failed_at DESC
) AS given
WHERE
    kept.body_sha256 = given.body_sha256
    AND kept.message_id = given.message_id
    AND kept.failed_at < given.failed_at
    AND NOT EXISTS (
        SELECT FROM resolution.ledger
        WHERE
            ledger.token_sha256 = given.token_sha256
            AND ledger.seller = given.seller
            AND ledger.status = 'resolved'
    )
