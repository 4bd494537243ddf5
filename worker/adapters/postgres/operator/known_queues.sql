-- Lists the queues that replicas have seen on the broker, missing ones that nobody has acknowledged
-- included.
SELECT name
FROM resolution.broker_queue
ORDER BY name
