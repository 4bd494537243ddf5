-- Replaces the state of the search for the quota.
UPDATE resolution.quota
SET state = $2::text::jsonb
WHERE seller = $1
