-- Deletes outcomes that were settled so long ago.
SELECT resolution.prune_ledger($1, $2) AS rows
