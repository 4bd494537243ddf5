-- Deletes sent events, takes or keeps the turn to send, deletes a key's events that are too old, and
-- reads the ones to send next. No row: another replica has the turn. A row without a number: no
-- event waits under this key.
WITH done AS (
    SELECT value::bigint AS id
    FROM json_array_elements_text($4::json)
),

sent AS (
    DELETE FROM resolution.event_outbox USING done WHERE event_outbox.id = done.id
),

turn AS (
    INSERT INTO resolution.event_outbox_turn AS held (holder, held_until)
    VALUES ($1::text, clock_timestamp() + interval '15 seconds')
    ON CONFLICT (one) DO UPDATE SET
        holder = excluded.holder,
        held_until = excluded.held_until
    WHERE
        held.holder = excluded.holder
        OR held.held_until < clock_timestamp()
        -- Longer than any replica takes it, so not valid.
        OR held.held_until > clock_timestamp() + interval '16 seconds'
    RETURNING holder
),

old AS (
    SELECT oldest.id
    FROM turn
    CROSS JOIN LATERAL (
        SELECT id, stored_at
        FROM resolution.event_outbox
        WHERE routing_key = $2::text AND id NOT IN (SELECT id FROM done)
        ORDER BY id
        LIMIT 1000
    ) AS oldest
    WHERE oldest.stored_at < now() - interval '1 day'
),

expired AS (
    DELETE FROM resolution.event_outbox USING old WHERE event_outbox.id = old.id
    RETURNING event_outbox.id
)

SELECT
    (SELECT count(*) FROM expired) AS expired,
    next.id,
    next.message_id,
    next.correlation_id,
    next.body
FROM turn
LEFT JOIN LATERAL (
    SELECT id, message_id, correlation_id, body
    FROM resolution.event_outbox
    WHERE
        routing_key = $2::text
        AND id NOT IN (SELECT id FROM done)
        AND stored_at >= now() - interval '1 day'
    ORDER BY id
    LIMIT $3::integer
) AS next ON TRUE
ORDER BY next.id
