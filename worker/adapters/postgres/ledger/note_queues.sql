-- Notes which queues are on the broker ($1) and which are not ($2); returns those that went missing
-- and were not acknowledged.
SELECT name, lost_at
FROM resolution.note_queues($1, $2)
