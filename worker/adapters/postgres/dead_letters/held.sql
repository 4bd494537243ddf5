-- In other statements: whether another replay that is running holds the claim on a dead letter.
EXISTS (
    SELECT FROM resolution.replay AS holder
    WHERE
        holder.id = dead_letter.replay_id
        AND holder.id <> ({given} ->> 'replay')::bigint
        AND holder.state = 'running'
        AND holder.heartbeat_at > now() - ({given} ->> 'stale')::interval
)
