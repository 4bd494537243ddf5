-- Exactly the rights that the worker and the readers need.
--
-- Run by resolution_migrator, the schema's owner, after each `resolution-worker migrate`;
-- running it again changes nothing:
--
--     psql --dbname=marketplace --username=resolution_migrator --file=deploy/postgres/grants.sql

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA resolution FROM resolution_worker, resolution_reader;
GRANT USAGE ON SCHEMA resolution TO resolution_worker, resolution_reader;

-- It merges what it settles into what stands; it deletes nothing.
GRANT SELECT, INSERT, UPDATE ON resolution.ledger TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.customer TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.agreement TO resolution_worker;

-- It keeps letters and counts them; it can't read back what is sealed in them, nor the rest of
-- what the publisher wrote.
GRANT INSERT ON resolution.dead_letter TO resolution_worker;
GRANT SELECT (
    state, seller, reason, token_sha256, body_sha256, message_id, occurrences, received_at,
    failed_at, redeemable_until
) ON resolution.dead_letter TO resolution_worker;
GRANT UPDATE (
    state, seller, reason, error_code, error_message, token_sha256, correlation_id, lane,
    metadata, attempts, occurrences, received_at, failed_at, redeemable_until, sealed,
    seal_key_id, body_bytes
) ON resolution.dead_letter TO resolution_worker;

GRANT INSERT ON resolution.malformed_message TO resolution_worker;
GRANT SELECT ON resolution.schema_migration TO resolution_worker;

-- What people do by hand is added to the audit and stays there; when, and as which role, the
-- server says.
GRANT SELECT, INSERT (actor, reason, action, subject) ON resolution.audit TO resolution_worker;

GRANT SELECT ON resolution.outcomes, resolution.agreements, resolution.malformed
TO resolution_reader;

COMMIT;
