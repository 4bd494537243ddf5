-- Lists the migrations that were applied, oldest first.
SELECT version, name, checksum, applied_at
FROM resolution.schema_migration
ORDER BY version
