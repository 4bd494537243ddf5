-- Restarts the search for the quota, audited; returns the rate it starts from, null for none.
SELECT rate
FROM resolution.search_again($1, $2, $3) AS rate
