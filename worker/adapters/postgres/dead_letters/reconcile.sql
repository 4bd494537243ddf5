-- Tells replayed letters what the ledger says of their token since: those that were answered
-- together with another submission of it, which alone told its own letter. Of these letters, or
-- (null) of all.
WITH found AS (
    SELECT
        dead_letter.id, dead_letter.replay_id, ledger.status, ledger.error_code,
        ledger.error_message, ledger.attempts
    FROM resolution.dead_letter
    INNER JOIN resolution.ledger USING (token_sha256, seller)
    WHERE
        ($1::json IS NULL
            OR dead_letter.id IN (SELECT value::bigint FROM json_array_elements_text($1::json)))
        AND dead_letter.state = 'replaying'
        AND dead_letter.published_at IS NOT NULL
        AND (ledger.status = 'resolved' OR ledger.settled_at > dead_letter.claimed_at)
    ORDER BY dead_letter.id
    LIMIT 1000
    FOR UPDATE OF dead_letter SKIP LOCKED
),

told AS (
    UPDATE resolution.dead_letter AS letter
    SET
        state = CASE WHEN found.status = 'resolved' THEN 'resolved' ELSE 'open' END,
        closed_at = CASE WHEN found.status = 'resolved' THEN now() END
    FROM found
    WHERE letter.id = found.id
    RETURNING letter.id
)

INSERT INTO resolution.letter_event (
    letter_id, kind, error_code, error_message, attempts, replay_id
)
SELECT
    id, CASE WHEN found.status = 'resolved' THEN 'resolved' ELSE 'failed' END,
    found.error_code, found.error_message, found.attempts, found.replay_id
FROM told
INNER JOIN found USING (id)
ORDER BY id
RETURNING letter_id
