-- Reads the version of the schema; 0 where no migration is recorded.
SELECT coalesce(max(version), 0) AS version
FROM resolution.schema_migration
