-- Reads, in one snapshot, all inputs of a lease; always one row.
SELECT
    extract(EPOCH FROM moment.now)::float8 AS now,
    coalesce(quota.version, 0) AS version,
    quota.state::text AS state,
    coalesce(quota.singly, FALSE) AS singly,
    quota.ceiling,
    quota.pause_actor,
    quota.pause_reason,
    -- A pause whose time is over is none, though nobody has ended it yet.
    CASE WHEN coalesce(quota.pause_until > moment.now, TRUE) THEN quota.paused_at END AS paused_at,
    quota.pause_until,
    (
        SELECT
            json_agg(json_build_array(
                replica.id, replica.need::text, replica.granted, replica.ceiling,
                replica.refused_at IS NOT NULL,
                extract(EPOCH FROM moment.now - replica.accepted_at)::float8,
                (replica.in_hand -> 'live')::text
            ))::text
        FROM resolution.replica
        WHERE replica.seller = $1 AND replica.expires_at > moment.now
    ) AS living,
    -- Processes that died: their lease expired although they had not left, and some seconds after
    -- another replica noticed it they had not renewed it, as they do after an outage of the database.
    (
        SELECT count(*)
        FROM resolution.replica
        WHERE
            replica.seller = $1
            AND replica.missed_at < moment.now - interval '5 seconds'
            AND replica.expires_at BETWEEN moment.now - interval '10 minutes' AND moment.now
    ) AS deaths,
    ARRAY(
        SELECT known.routing_key
        FROM unnest(ARRAY[
            'token.resolved', 'token.rejected', 'token.expired', 'token.dead', 'token.malformed'
        ]) AS known (routing_key)
        WHERE EXISTS (
            SELECT FROM resolution.event_outbox
            WHERE event_outbox.routing_key = known.routing_key
        )
    ) AS outbox_keys
-- In a row of its own the volatile function is called once.
FROM (SELECT clock_timestamp() AS now) AS moment
LEFT JOIN resolution.quota ON quota.seller = $1
