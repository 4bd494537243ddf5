-- Records a migration in the transaction that applies it.
INSERT INTO resolution.schema_migration (version, name, checksum)
VALUES ($1, $2, $3)
RETURNING version, name, checksum, applied_at
