-- Closes the letters of tokens that stand resolved.
SELECT resolution.close_letters($1::json)
