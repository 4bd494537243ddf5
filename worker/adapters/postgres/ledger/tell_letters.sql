-- Keeps messages that were given up, or tells their letters again.
SELECT resolution.tell_letters($1::json)
