-- Deletes what was settled so long ago and is not resolved.
SELECT resolution.prune_unresolved($1, $2) AS rows
