-- The running replays that hold claims on letters that were chosen, and when they last said so.
SELECT holder.id, holder.heartbeat_at, count(*) AS letters
FROM resolution.dead_letter
INNER JOIN resolution.replay AS holder ON holder.id = dead_letter.replay_id
WHERE
    {chosen}
    AND dead_letter.state = 'replaying'
    AND dead_letter.published_at IS NULL
    AND holder.state = 'running'
    AND holder.id <> ({given} ->> 'replay')::bigint
GROUP BY holder.id, holder.heartbeat_at
