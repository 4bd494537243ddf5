-- In `claim`: open dead letters, from a place in the order of failures on.
state = 'open'
AND reason <> 'malformed'
AND failed_at <= ({given} ->> 'failed_until')::timestamptz
AND replay_id IS DISTINCT FROM ({given} ->> 'replay')::bigint
AND (failed_at, id) > (({given} ->> 'after')::timestamptz, ({given} ->> 'after_id')::bigint)
