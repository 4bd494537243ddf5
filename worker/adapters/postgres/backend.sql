-- Names the server process that runs this very statement.
SELECT pg_backend_pid()
