-- Records an act by hand, in the same transaction. The server itself adds the time and the
-- connected role.
INSERT INTO resolution.audit (actor, reason, action, subject)
VALUES ($1, $2, $3, $4::text::jsonb)
