-- Counts the waiting events.
SELECT count(*) AS events
FROM resolution.event_outbox
