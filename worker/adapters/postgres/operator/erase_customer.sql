-- Removes what is stored of a customer, and audits it; says how many rows of each kind went.
SELECT stored, entries
FROM resolution.erase_customer($1, $2, $3, $4)
