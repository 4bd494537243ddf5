-- Begins the search for the quota anew, audited; from which rate, null for none.
SELECT rate
FROM resolution.search_again($1, $2, $3) AS rate
