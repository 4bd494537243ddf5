-- Whether the schema is marked as a stand-in's.
SELECT EXISTS (SELECT FROM resolution.stand_in) AS marked
