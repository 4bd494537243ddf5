-- Takes the lock of this project's migrations until the transaction ends.
SELECT pg_advisory_xact_lock(7310583904412571)
