"""The database: the ledger, its schema and its migrations, on asyncpg."""
