-- Claims dead letters for a replay, the oldest failures first, and those alone that are `claimable`.
-- A claim of this round that was never marked as published keeps its instant: a copy may be out.
WITH chosen AS (
    SELECT id
    FROM resolution.dead_letter
    WHERE
        {chosen}
        AND {claimable}
        AND shredded_at IS NULL
        AND seal_key_id IN (SELECT json_array_elements_text({given} -> 'keys'))
        AND redeemable_until > now() + ({given} ->> 'margin')::interval
    ORDER BY failed_at, id
    LIMIT ({given} ->> 'most')::bigint
    FOR UPDATE SKIP LOCKED
)

UPDATE resolution.dead_letter AS letter
SET
    state = 'replaying',
    replay_id = ({given} ->> 'replay')::bigint,
    published_at = NULL,
    claimed_at = CASE
        WHEN
            letter.published_at IS NULL
            AND letter.claimed_at > letter.failed_at
            AND letter.claimed_at >= coalesce(stands.settled_at, '-infinity')
            THEN letter.claimed_at
        ELSE
            date_trunc(
                'milliseconds',
                greatest(clock_timestamp(), letter.failed_at, stands.settled_at)
            ) + interval '1 millisecond'
    END
FROM chosen
INNER JOIN resolution.dead_letter AS itself USING (id)
LEFT JOIN resolution.ledger AS stands USING (token_sha256, seller)
WHERE letter.id = chosen.id
RETURNING
    letter.id, letter.seller, letter.reason, letter.message_id, letter.received_at,
    letter.redeemable_until, letter.claimed_at, letter.failed_at
