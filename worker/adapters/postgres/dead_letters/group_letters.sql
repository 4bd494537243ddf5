-- Puts letters into their groups, unless one was told anew since it was read.
UPDATE resolution.dead_letter
SET group_key = found.group_key, grouped_at = found.failed_at
FROM json_to_recordset($1::json) AS found (id bigint, group_key text, failed_at timestamptz)
WHERE dead_letter.id = found.id AND dead_letter.failed_at = found.failed_at
