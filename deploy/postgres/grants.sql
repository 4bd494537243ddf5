-- Grants exactly the rights that the worker, people on call and readers need.
--
-- Run by resolution_migrator, the schema's owner, after each `resolution-worker migrate`;
-- running it again changes nothing:
--
--     psql --dbname=marketplace --username=resolution_migrator --file=deploy/postgres/grants.sql
--
-- Then run revoke.sql in the same way: in a new installation at once, after an update once no worker
-- of an earlier version is running.

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA resolution
FROM resolution_worker, resolution_operator, resolution_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA resolution
FROM PUBLIC, resolution_worker, resolution_operator, resolution_reader;
GRANT USAGE ON SCHEMA resolution TO resolution_worker, resolution_operator, resolution_reader;

-- --- the worker ---

-- It merges outcomes into existing rows; it deletes nothing, and can't change a row's key.
GRANT SELECT, INSERT, UPDATE (
    status, message_id, attempts, received_at, settled_at, product_code, customer_aws_account_id,
    customer_identifier, license_arn, agreement_id, offer_type, error_code, error_message, advice,
    first_seen_at
) ON resolution.ledger TO resolution_worker;
GRANT SELECT, INSERT, UPDATE (
    customer_aws_account_id, customer_identifier, first_resolved_at, last_resolved_at
) ON resolution.customer TO resolution_worker;
GRANT SELECT, INSERT, UPDATE (
    customer_aws_account_id, customer_identifier, product_code, agreement_id, offer_type,
    first_resolved_at, last_resolved_at
) ON resolution.agreement TO resolution_worker;

-- Dead letters are written, closed and counted by functions. It can't read their sealed payloads, nor
-- the other data from the publisher.
GRANT SELECT (
    id, state, seller, reason, token_sha256, body_sha256, message_id, occurrences, received_at,
    failed_at, redeemable_until
) ON resolution.dead_letter TO resolution_worker;
GRANT EXECUTE ON FUNCTION
    resolution.tell_letters(json), resolution.close_letters(json), resolution.note_malformed(json)
TO resolution_worker;

GRANT SELECT ON resolution.schema_migration, resolution.stand_in, resolution.retention
TO resolution_worker;

-- The replicas' shared state, within the limits of these functions.
GRANT SELECT ON resolution.quota, resolution.replica, resolution.broker_queue TO resolution_worker;
GRANT EXECUTE ON FUNCTION
    resolution.lease(
        text, bigint, json, double precision, boolean, integer, text, double precision,
        double precision, double precision, text, json
    ),
    resolution.leave(text, text), resolution.permit(text), resolution.take_probe(text),
    resolution.note_queues(text[], text[])
TO resolution_worker;

-- Events that wait for an observer, and the turn to send them. The server numbers the events.
GRANT SELECT, DELETE, INSERT (
    routing_key, message_id, correlation_id, body, seller, customer_aws_account_id,
    customer_identifier
) ON resolution.event_outbox TO resolution_worker;
GRANT SELECT, INSERT, UPDATE ON resolution.event_outbox_turn TO resolution_worker;

-- Acts by hand are added to the audit and stay there; the server adds the time and the role.
GRANT SELECT, INSERT (actor, reason, action, subject) ON resolution.audit TO resolution_worker;

-- Old rows are deleted only by these functions, which keep what must be kept, whatever their arguments.
GRANT EXECUTE ON FUNCTION
    resolution.shred_payloads(integer), resolution.archive_letters(integer),
    resolution.prune_letters(interval, integer), resolution.prune_malformed(interval, integer),
    resolution.prune_replays(interval, integer), resolution.prune_ledger(interval, integer),
    resolution.prune_unresolved(interval, integer), resolution.prune_audit(interval, integer)
TO resolution_worker;

-- `pause`, `resume`, `rate` and `topology acknowledge`, for anyone who has the worker's address: each writes an entry with this
-- role into the audit.
GRANT EXECUTE ON FUNCTION
    resolution.pause(text, text, text), resolution.pause(text, text, text, double precision),
    resolution.resume(text, text, text),
    resolution.set_ceiling(text, double precision, text, text),
    resolution.search_again(text, text, text), resolution.acknowledge_queues(text, text)
TO resolution_worker;

-- --- people on call ---

-- They read everything except sealed payloads, and replay and discard dead letters. They write no
-- outcome, and delete nothing. To open a payload, to pause, to limit the rate and to erase there are
-- functions that write an entry into the audit.
GRANT SELECT ON
    resolution.ledger, resolution.customer, resolution.agreement, resolution.malformed_message,
    resolution.letter_event, resolution.replay, resolution.audit, resolution.schema_migration,
    resolution.outcomes, resolution.agreements, resolution.malformed, resolution.event_outbox,
    resolution.event_outbox_turn, resolution.quota, resolution.replica, resolution.letter_count,
    resolution.retention, resolution.broker_queue
TO resolution_operator;
GRANT SELECT (
    id, state, seller, reason, error_code, error_message, token_sha256, body_sha256, message_id,
    correlation_id, lane, metadata, attempts, occurrences, received_at, first_failed_at, failed_at,
    redeemable_until, seal_key_id, body_bytes, group_key, grouped_at, replays, replay_id,
    claimed_at, published_at, closed_at, shredded_at
) ON resolution.dead_letter TO resolution_operator;
GRANT UPDATE (
    state, seller, token_sha256, message_id, group_key, grouped_at, replays, replay_id, claimed_at,
    published_at, closed_at
) ON resolution.dead_letter TO resolution_operator;
GRANT INSERT (
    letter_id, kind, error_code, error_message, attempts, actor, reason, replay_id
) ON resolution.letter_event TO resolution_operator;
GRANT INSERT (actor, reason, selection, chosen) ON resolution.replay TO resolution_operator;
GRANT UPDATE (
    state, heartbeat_at, finished_at, chosen, published, refused
) ON resolution.replay TO resolution_operator;
GRANT INSERT (actor, reason, action, subject) ON resolution.audit TO resolution_operator;
GRANT EXECUTE ON FUNCTION
    resolution.pause(text, text, text), resolution.pause(text, text, text, double precision),
    resolution.resume(text, text, text),
    resolution.set_ceiling(text, double precision, text, text),
    resolution.search_again(text, text, text), resolution.acknowledge_queues(text, text),
    resolution.open_payloads(json, text, text, text, json),
    resolution.reseal_payloads(json, text, text, text),
    resolution.erase_customer(text, text, text, text)
TO resolution_operator;

GRANT SELECT ON resolution.outcomes, resolution.agreements, resolution.malformed
TO resolution_reader;

-- --- rights that only programs of an earlier version need; revoke.sql revokes them ---

-- They check for the right to insert into these tables as a whole.
GRANT INSERT ON resolution.dead_letter, resolution.malformed_message, resolution.event_outbox
TO resolution_worker;
GRANT UPDATE (
    state, seller, reason, error_code, error_message, token_sha256, correlation_id, lane,
    metadata, attempts, occurrences, received_at, failed_at, redeemable_until, sealed,
    seal_key_id, body_bytes, group_key, grouped_at, claimed_at, published_at, closed_at,
    shredded_at
) ON resolution.dead_letter TO resolution_worker;
GRANT INSERT (letter_id, at, kind, error_code, error_message, attempts)
ON resolution.letter_event TO resolution_worker;
GRANT INSERT, UPDATE ON resolution.quota TO resolution_worker, resolution_operator;
GRANT INSERT, UPDATE, DELETE ON resolution.replica TO resolution_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON resolution.breaker TO resolution_worker;
GRANT SELECT ON resolution.breaker TO resolution_operator;
GRANT SELECT (sealed), UPDATE (sealed, seal_key_id)
ON resolution.dead_letter TO resolution_operator;

COMMIT;
