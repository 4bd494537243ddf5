-- Gives a replica's share back.
SELECT resolution.leave($1, $2)
