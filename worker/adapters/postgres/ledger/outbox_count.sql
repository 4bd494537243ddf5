-- Counts the events that wait.
SELECT count(*) AS events
FROM resolution.event_outbox
