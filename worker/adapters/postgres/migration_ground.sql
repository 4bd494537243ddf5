-- Creates the schema and the table that records migrations, after a check for each: a role that owns
-- the schema may lack the right to create one, which "IF NOT EXISTS" would require all the same.
DO $$
BEGIN
    IF to_regnamespace('resolution') IS NULL THEN
        CREATE SCHEMA resolution;
    END IF;
    IF to_regclass('resolution.schema_migration') IS NULL THEN
        CREATE TABLE resolution.schema_migration (
            version integer PRIMARY KEY,
            name text NOT NULL,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
END
$$
