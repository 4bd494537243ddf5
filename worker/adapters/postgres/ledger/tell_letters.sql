-- Stores dead letters, or records another occurrence of existing ones.
SELECT resolution.tell_letters($1::json)
