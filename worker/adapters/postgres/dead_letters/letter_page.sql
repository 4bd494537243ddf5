-- One page of the selected letters, the newest failure first. Chosen from the index alone; only
-- the page itself is read whole.
WITH page AS (
    SELECT
        letter.id,
        letter.failed_at
    FROM resolution.dead_letter AS letter
    WHERE {chosen} AND (letter.failed_at, letter.id) < ($1, $2)
    ORDER BY letter.failed_at DESC, letter.id DESC
    LIMIT $3
)

SELECT
    letter.id, letter.state, letter.seller, letter.reason, letter.error_code,
    letter.error_message, letter.group_key, letter.message_id, letter.token_sha256,
    letter.attempts, letter.occurrences, letter.replays, letter.received_at,
    letter.first_failed_at, letter.failed_at, letter.redeemable_until
FROM page
INNER JOIN resolution.dead_letter AS letter USING (id)
ORDER BY page.failed_at DESC, page.id DESC
