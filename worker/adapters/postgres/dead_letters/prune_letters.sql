-- Deletes letters that were closed so long ago.
SELECT resolution.prune_letters($1, $2) AS rows
