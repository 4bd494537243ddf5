-- Marks letters of a replay as published, and notes it in their history. A letter that has its
-- outcome by now keeps it.
WITH marked AS (
    UPDATE resolution.dead_letter AS letter
    SET published_at = clock_timestamp(), replays = letter.replays + 1
    FROM (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            id IN (SELECT value::bigint FROM json_array_elements_text($2::json))
            AND replay_id = $1
            AND published_at IS NULL
        ORDER BY id
        FOR UPDATE
    ) AS mine
    WHERE letter.id = mine.id
    RETURNING letter.id
)

INSERT INTO resolution.letter_event (letter_id, kind, actor, reason, replay_id)
SELECT marked.id, 'replayed', replay.actor, replay.reason, replay.id
FROM marked
CROSS JOIN resolution.replay
WHERE replay.id = $1
ORDER BY marked.id
RETURNING letter_id
