-- Discards a batch of dead letters, and notes it in their history. They keep their payload.
WITH chosen AS (
    SELECT id
    FROM resolution.dead_letter
    WHERE
        {chosen}
        AND id > ({given} ->> 'after')::bigint
        AND failed_at <= ({given} ->> 'failed_until')::timestamptz
        AND {discardable}
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
