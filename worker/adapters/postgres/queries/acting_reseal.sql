-- Puts newly sealed payloads in the place of the old ones, and notes it in the letters' history.
WITH resealed AS (
    UPDATE resolution.dead_letter AS letter
    SET sealed = given.sealed, seal_key_id = $2
    FROM json_to_recordset($1::json) AS given (id bigint, sealed bytea)
    WHERE letter.id = given.id
    RETURNING letter.id
)

INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)
SELECT id, 'resealed', $3, $4
FROM resealed
ORDER BY id
