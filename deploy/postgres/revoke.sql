-- Revokes the rights that only programs of an earlier version need.
--
-- Run by resolution_migrator, the schema's owner, after grants.sql: in a new installation at once,
-- after an update once the last worker of an earlier version has ended. While one is running it
-- changes nothing, and warns; running it again changes nothing:
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
    -- Revoking a right on a table also revokes it on its columns.
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
