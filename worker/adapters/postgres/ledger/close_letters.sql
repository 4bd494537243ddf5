-- Closes the dead letters of tokens that are resolved.
SELECT resolution.close_letters($1::json)
