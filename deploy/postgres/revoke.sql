-- Takes back what only programs of the version before need.
--
-- Run by resolution_migrator, the schema's owner, after grants.sql: in a new installation at once,
-- after an update when the last worker of the version before has ended. While one is at work it
-- changes nothing, and says so; running it again changes nothing:
--
--     psql --dbname=marketplace --username=resolution_migrator --file=deploy/postgres/revoke.sql

DO $$
DECLARE
    older text;
BEGIN
    SELECT string_agg(format('%s (%s)', id, version), ', ' ORDER BY id) INTO older
    FROM resolution.replica
    WHERE expires_at > clock_timestamp() AND schema_version IS NULL;
    IF older IS NOT NULL THEN
        RAISE WARNING 'nothing was revoked: workers of the version before are at work: %', older
            USING HINT = 'run revoke.sql again when they have ended';
        RETURN;
    END IF;

    REVOKE INSERT, UPDATE ON resolution.dead_letter FROM resolution_worker;
    REVOKE INSERT ON resolution.letter_event, resolution.malformed_message FROM resolution_worker;
    -- With the right to a table go those to its columns.
    REVOKE INSERT ON resolution.event_outbox FROM resolution_worker;
    GRANT INSERT (
        routing_key, message_id, correlation_id, body, seller, customer_aws_account_id,
        customer_identifier
    ) ON resolution.event_outbox TO resolution_worker;
    REVOKE INSERT, UPDATE, DELETE ON resolution.quota, resolution.replica
    FROM resolution_worker, resolution_operator;
    REVOKE ALL ON resolution.breaker FROM resolution_worker, resolution_operator;
    REVOKE SELECT (sealed), UPDATE (sealed, seal_key_id)
    ON resolution.dead_letter FROM resolution_operator;
END
$$;
