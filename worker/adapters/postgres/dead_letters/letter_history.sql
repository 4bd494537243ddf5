-- What happened to a letter, oldest first, with who replayed it and why.
SELECT
    event.at,
    event.kind,
    event.error_code,
    event.error_message,
    event.attempts,
    coalesce(event.actor, replay.actor) AS actor,
    coalesce(event.reason, replay.reason) AS reason,
    event.replay_id
FROM resolution.letter_event AS event
LEFT JOIN resolution.replay ON event.replay_id = replay.id
WHERE event.letter_id = $1
ORDER BY event.id DESC
LIMIT $2
