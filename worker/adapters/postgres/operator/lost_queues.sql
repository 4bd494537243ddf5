-- Lists the queues that went missing and were not acknowledged.
SELECT name, lost_at
FROM resolution.broker_queue
WHERE lost_at IS NOT NULL
ORDER BY name
