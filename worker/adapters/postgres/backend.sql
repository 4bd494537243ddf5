-- Returns the ID of the server process that runs this statement, and how its transactions are isolated
-- where they do not say so themselves.
SELECT
    pg_backend_pid() AS process,
    current_setting('default_transaction_isolation') AS isolation
