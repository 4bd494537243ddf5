-- Deletes the notes of messages that could not be read and came so long ago.
SELECT resolution.prune_malformed($1, $2) AS rows
