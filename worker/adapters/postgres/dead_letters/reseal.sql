-- Puts newly sealed payloads in the place of the old ones, and notes it in the letters' history.
SELECT resolution.reseal_payloads($1::json, $2, $3, $4)
