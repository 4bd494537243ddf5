-- Reads what is sealed in letters; the audit says who asked, and why.
SELECT id, sealed, seal_key_id, body_sha256, body_bytes, shredded_at
FROM resolution.open_payloads($1::json, $2, $3, $4, $5::json)
