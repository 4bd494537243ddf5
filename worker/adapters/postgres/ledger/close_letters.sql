-- Closes the dead letters of tokens that are resolved (function of migration 0009).
SELECT resolution.close_letters($1::json)
