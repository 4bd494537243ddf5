-- Forgets which queues went missing, audited; returns them.
SELECT name, lost_at
FROM resolution.acknowledge_queues($1, $2)
ORDER BY name
