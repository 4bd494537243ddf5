-- Begins a replay; the server itself says when, and who was let in.
INSERT INTO resolution.replay (actor, reason, selection, chosen)
VALUES ($1, $2, $3::text::jsonb, $4)
RETURNING id, started_at
