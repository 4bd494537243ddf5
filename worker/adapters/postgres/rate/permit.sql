-- Takes the next single permit, and returns the seconds until it may be used; no row if no rate
-- is known.
SELECT seconds
FROM resolution.permit($1) AS seconds
WHERE seconds IS NOT NULL
