-- Counts the dead letters that `discard` would take.
SELECT count(*) AS letters
FROM resolution.dead_letter
WHERE {chosen} AND {discardable}
