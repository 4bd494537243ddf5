-- Gives claims of a replay back that were not published: those named, which nobody has seen, or
-- (null) all the rest, of which a copy may be out.
WITH released AS (
    UPDATE resolution.dead_letter AS letter
    SET state = 'open', claimed_at = CASE WHEN $2::json IS NULL THEN letter.claimed_at END
    FROM (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            state = 'replaying'
            AND replay_id = $1
            AND published_at IS NULL
            AND (
                $2::json IS NULL
                OR id IN (SELECT value::bigint FROM json_array_elements_text($2::json))
            )
        ORDER BY id
        FOR UPDATE
    ) AS mine
    WHERE letter.id = mine.id
    RETURNING letter.id
)

INSERT INTO resolution.letter_event (letter_id, kind, actor, error_message, replay_id)
SELECT released.id, $3, replay.actor, $4, replay.id
FROM released
CROSS JOIN resolution.replay
WHERE replay.id = $1
ORDER BY released.id
RETURNING letter_id
