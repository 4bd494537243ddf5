-- Whether the schema is marked as a playground.
SELECT EXISTS (SELECT FROM resolution.stand_in) AS marked
