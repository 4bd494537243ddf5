-- Gives the roles of postgres/roles.sql that log in the passwords of deploy/secrets. For psql: it
-- reads the files itself, so that no list of processes shows them.
\set ON_ERROR_STOP on
\set worker `cat "$SECRETS/resolution_worker"`
\set operator `cat "$SECRETS/resolution_operator"`
\set migrator `cat "$SECRETS/resolution_migrator"`
ALTER ROLE resolution_worker PASSWORD :'worker';
ALTER ROLE resolution_operator PASSWORD :'operator';
ALTER ROLE resolution_migrator PASSWORD :'migrator';
