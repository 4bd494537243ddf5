-- Deletes entries of the audit that are so old.
SELECT resolution.prune_audit($1, $2) AS rows
