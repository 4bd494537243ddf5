-- Deletes replays that ended so long ago and of whose letters none is left.
SELECT resolution.prune_replays($1, $2) AS rows
