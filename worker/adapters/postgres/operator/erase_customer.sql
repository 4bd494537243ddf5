-- Deletes a customer's data, and audits it; returns how many rows of each kind were affected.
SELECT stored, entries
FROM resolution.erase_customer($1, $2, $3, $4)
