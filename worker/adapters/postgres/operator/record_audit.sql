-- Records what was done by hand, in the transaction that does it. The server itself says when,
-- and who was let in.
INSERT INTO resolution.audit (actor, reason, action, subject)
VALUES ($1, $2, $3, $4::text::jsonb)
