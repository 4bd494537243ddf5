-- Refreshes the letters of messages that were given up before, except of tokens that stand
-- resolved. Told again while its letter is open it is the same death; after a replay, another,
-- which its history tells.
-- Not ON CONFLICT DO UPDATE, for which a role must be able to read what it overwrites.
WITH given AS (
    SELECT DISTINCT ON (body_sha256, message_id) *
    FROM json_to_recordset($1::json) AS told (
        seller text, reason text, error_code text, error_message text, token_sha256 bytea,
        body_sha256 bytea, message_id text, correlation_id text, lane text, metadata text,
        attempts integer, received_at timestamptz, failed_at timestamptz,
        redeemable_until timestamptz, sealed bytea, seal_key_id text, body_bytes integer,
        group_key text
    )
    ORDER BY body_sha256, message_id, failed_at DESC
),

-- Locked before they are written, so that the state is the one that is written over.
stood AS (
    SELECT
        letter.id,
        letter.state,
        given.*
    FROM resolution.dead_letter AS letter
    INNER JOIN given
        ON letter.body_sha256 = given.body_sha256 AND letter.message_id = given.message_id
    WHERE
        letter.failed_at < given.failed_at
        AND NOT EXISTS (
            SELECT FROM resolution.ledger
            WHERE
                ledger.token_sha256 = given.token_sha256
                AND ledger.seller = given.seller
                AND ledger.status = 'resolved'
        )
    ORDER BY letter.body_sha256, letter.message_id
    FOR UPDATE OF letter
),

retold AS (
    UPDATE resolution.dead_letter AS kept
    SET
        state = 'open',
        occurrences = kept.occurrences + (stood.state <> 'open')::integer,
        seller = stood.seller,
        reason = stood.reason,
        error_code = stood.error_code,
        error_message = stood.error_message,
        token_sha256 = coalesce(stood.token_sha256, kept.token_sha256),
        correlation_id = stood.correlation_id,
        lane = stood.lane,
        metadata = stood.metadata,
        attempts = stood.attempts,
        received_at = least(kept.received_at, stood.received_at),
        failed_at = stood.failed_at,
        redeemable_until = stood.redeemable_until,
        sealed = stood.sealed,
        seal_key_id = stood.seal_key_id,
        body_bytes = stood.body_bytes,
        group_key = stood.group_key,
        grouped_at = stood.failed_at,
        claimed_at = NULL,
        published_at = NULL,
        closed_at = NULL,
        shredded_at = NULL
    FROM stood
    WHERE kept.id = stood.id
)

INSERT INTO resolution.letter_event (
    letter_id, at, kind, error_code, error_message, attempts
)
SELECT id, failed_at, 'failed', error_code, error_message, attempts
FROM stood
WHERE state <> 'open'
ORDER BY id
