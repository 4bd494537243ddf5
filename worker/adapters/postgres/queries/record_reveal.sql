-- Notes in a letter's history that somebody reads its payload.
INSERT INTO resolution.letter_event (letter_id, kind, actor, reason)
VALUES ($1, 'revealed', $2, $3)
