-- Exactly the rights that the worker, the people on call and the readers need.
--
-- Run by resolution_migrator, the schema's owner, after each `resolution-worker migrate`;
-- running it again changes nothing:
--
--     psql --dbname=marketplace --username=resolution_migrator --file=deploy/postgres/grants.sql

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA resolution
FROM resolution_worker, resolution_operator, resolution_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA resolution
FROM PUBLIC, resolution_worker, resolution_operator, resolution_reader;
GRANT USAGE ON SCHEMA resolution TO resolution_worker, resolution_operator, resolution_reader;

-- It merges what it settles into what stands; it deletes nothing.
GRANT SELECT, INSERT, UPDATE ON resolution.ledger TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.customer TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.agreement TO resolution_worker;

-- It keeps letters and counts them; it can't read back what is sealed in them, nor the rest of
-- what the publisher wrote.
GRANT INSERT ON resolution.dead_letter TO resolution_worker;
GRANT SELECT (
    id, state, seller, reason, token_sha256, body_sha256, message_id, occurrences, received_at,
    failed_at, redeemable_until
) ON resolution.dead_letter TO resolution_worker;
GRANT UPDATE (
    state, seller, reason, error_code, error_message, token_sha256, correlation_id, lane,
    metadata, attempts, occurrences, received_at, failed_at, redeemable_until, sealed,
    seal_key_id, body_bytes, group_key, grouped_at, claimed_at, published_at, closed_at,
    shredded_at
) ON resolution.dead_letter TO resolution_worker;
GRANT INSERT (letter_id, at, kind, error_code, error_message, attempts)
ON resolution.letter_event TO resolution_worker;

GRANT INSERT ON resolution.malformed_message TO resolution_worker;
GRANT SELECT ON resolution.schema_migration, resolution.stand_in TO resolution_worker;

-- What the replicas share. Each removes the rows of those long dead, and the breaker's when AWS
-- accepts us again; that is all it deletes.
GRANT SELECT, INSERT, UPDATE ON resolution.quota TO resolution_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON resolution.replica TO resolution_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON resolution.breaker TO resolution_worker;

-- Events that wait for an observer, and whose turn it is to send them.
GRANT SELECT, INSERT, DELETE ON resolution.event_outbox TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.event_outbox_turn TO resolution_worker;

-- `pause`, `resume`, `rate` and `status`.
GRANT SELECT, INSERT, UPDATE ON resolution.quota TO resolution_operator;
GRANT SELECT ON resolution.replica, resolution.breaker TO resolution_operator;

-- What people do by hand is added to the audit and stays there; when, and as which role, the
-- server says.
GRANT SELECT, INSERT (actor, reason, action, subject) ON resolution.audit TO resolution_worker;

-- What is old goes through these alone: each keeps what must be kept, whatever it is told.
GRANT EXECUTE ON FUNCTION
    resolution.shred_payloads(integer), resolution.archive_letters(integer),
    resolution.prune_letters(interval, integer), resolution.prune_malformed(interval, integer),
    resolution.prune_replays(interval, integer), resolution.prune_ledger(interval, integer),
    resolution.prune_audit(interval, integer)
TO resolution_worker;

-- People on call read everything, what is sealed included (which only an opening key opens), take
-- letters up and put them away. They write no outcome, and delete nothing: `erase` does, by a
-- function that leaves an entry in the audit.
GRANT SELECT ON
    resolution.ledger, resolution.customer, resolution.agreement, resolution.malformed_message,
    resolution.dead_letter, resolution.letter_event, resolution.replay, resolution.audit,
    resolution.schema_migration, resolution.outcomes, resolution.agreements, resolution.malformed,
    resolution.event_outbox, resolution.event_outbox_turn
TO resolution_operator;
GRANT UPDATE (
    state, seller, token_sha256, message_id, group_key, grouped_at, replays, replay_id, claimed_at,
    published_at, closed_at, sealed, seal_key_id
) ON resolution.dead_letter TO resolution_operator;
GRANT INSERT (
    letter_id, kind, error_code, error_message, attempts, actor, reason, replay_id
) ON resolution.letter_event TO resolution_operator;
GRANT INSERT (actor, reason, selection, chosen) ON resolution.replay TO resolution_operator;
GRANT UPDATE (
    state, heartbeat_at, finished_at, chosen, published, refused
) ON resolution.replay TO resolution_operator;
GRANT INSERT (actor, reason, action, subject) ON resolution.audit TO resolution_operator;
GRANT EXECUTE ON FUNCTION resolution.erase_customer(text, text, text, text)
TO resolution_operator;

GRANT SELECT ON resolution.outcomes, resolution.agreements, resolution.malformed
TO resolution_reader;

COMMIT;
