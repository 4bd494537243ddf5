-- Discards a batch of open letters, and notes it in their history. They keep their payload.
WITH chosen AS (
    SELECT id
    FROM resolution.dead_letter
    WHERE
        {chosen}
        AND id > ({given} ->> 'after')::bigint
        AND failed_at <= ({given} ->> 'failed_until')::timestamptz
        AND state IN ('open', 'replaying')
        AND (
            state = 'open'
            OR published_at IS NULL
            AND NOT EXISTS (
                SELECT FROM resolution.replay AS holder
                WHERE
                    holder.id = dead_letter.replay_id
                    AND holder.state = 'running'
                    AND holder.heartbeat_at > now() - ({given} ->> 'stale')::interval
            )
        )
    ORDER BY id
    LIMIT ({given} ->> 'most')::bigint
    FOR UPDATE SKIP LOCKED
),

discarded AS (
    UPDATE resolution.dead_letter AS letter
    SET state = 'discarded', closed_at = clock_timestamp()
    FROM chosen
    WHERE letter.id = chosen.id
    RETURNING letter.id
)

INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)
SELECT id, 'discarded', {given} ->> 'actor', {given} ->> 'reason'
FROM discarded
ORDER BY id
RETURNING letter_id
