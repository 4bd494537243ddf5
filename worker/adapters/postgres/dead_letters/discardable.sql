-- Counts letters that nobody is replaying.
SELECT count(*) AS letters
FROM resolution.dead_letter
WHERE
    {chosen}
    AND state IN ('open', 'replaying')
    AND (
        state = 'open'
        OR published_at IS NULL
        AND NOT EXISTS (
            SELECT FROM resolution.replay AS holder
            WHERE
                holder.id = dead_letter.replay_id
                AND holder.state = 'running'
                AND holder.heartbeat_at > now() - ({given} ->> 'stale')::interval
        )
    )
