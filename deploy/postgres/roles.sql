-- Creates the three roles that log in, and one to be granted to others, for the current database, and
-- closes the database to all other roles.
--
-- Run once by a superuser, connected to the worker's database; running it again changes nothing.
-- create-roles.sh does it, and takes the passwords from files; by hand it is
--
--     psql --dbname=marketplace --file=deploy/postgres/roles.sql
--
-- After that no other role may connect to this database. Members of these roles may, if they inherit
-- their rights (the default); all others that should, such as programs that have tables of their own
-- in it, need GRANT CONNECT. Its owner and superusers always may.
--
-- Then set the passwords of the roles that log in, at psql's prompt. psql sends only a verifier to the
-- server; ALTER ROLE ... PASSWORD 'in clear' would be visible in its statement log:
--
--     psql --dbname=marketplace --command='\password resolution_migrator'
--     psql --dbname=marketplace --command='\password resolution_worker'
--     psql --dbname=marketplace --command='\password resolution_operator'
--
-- Then run `resolution-worker migrate` as resolution_migrator, and grants.sql after it.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('resolution_migrator', 'LOGIN'),   -- owns the schema
            ('resolution_worker', 'LOGIN'),     -- what `resolution-worker run` connects as
            ('resolution_operator', 'LOGIN'),   -- for people on call
            ('resolution_reader', 'NOLOGIN')    -- to be granted to readers of the views
        ) AS roles (name, login)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
            BEGIN
                EXECUTE format(
                    'CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE',
                    wanted.name, wanted.login
                );
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another session was quicker
            END;
        END IF;
    END LOOP;
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO '
        'resolution_migrator, resolution_worker, resolution_operator, resolution_reader',
        current_database()
    );
    -- Other roles on this server must not connect; roles that use this database for something else
    -- need GRANT CONNECT ON DATABASE ... TO ...
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- To create the schema, which it then owns.
    EXECUTE format('GRANT CREATE ON DATABASE %I TO resolution_migrator', current_database());
END
$$;

-- Time limits are set on the roles: a pooler in transaction mode refuses them as start-up parameters.
-- The worker itself gives up a call after 15 s; the server's limits are shorter, and give a reason.
ALTER ROLE resolution_worker SET statement_timeout = '5s';
ALTER ROLE resolution_worker SET lock_timeout = '3s';
ALTER ROLE resolution_worker SET idle_in_transaction_session_timeout = '10s';

-- People can wait longer than a worker, and `erase` reads the whole ledger. But none of them may block
-- a worker for long.
ALTER ROLE resolution_operator SET statement_timeout = '2min';
ALTER ROLE resolution_operator SET lock_timeout = '5s';
ALTER ROLE resolution_operator SET idle_in_transaction_session_timeout = '1min';

-- `migrate` sets its own limits for each migration; these apply to statements by hand.
ALTER ROLE resolution_migrator SET lock_timeout = '5s';
ALTER ROLE resolution_migrator SET idle_in_transaction_session_timeout = '1min';
