-- Shreds the payloads of tokens past their lifetime.
SELECT resolution.shred_payloads($1) AS rows
