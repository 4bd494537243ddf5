-- Stores dead letters, or records another occurrence of existing ones, or only counts them beyond
-- an hourly bound (function of migration 0009).
SELECT resolution.tell_letters($1::json)
