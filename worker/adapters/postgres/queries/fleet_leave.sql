-- Gives a replica's share back.
DELETE FROM resolution.replica
WHERE seller = $1 AND id = $2
