-- The three roles that log in, and one that others are granted, for the current database; and
-- nobody else.
--
-- Run once by a superuser, connected to the worker's database; running it again changes nothing.
-- create-roles.sh does it, and takes the passwords from files; by hand it is
--
--     psql --dbname=marketplace --file=deploy/postgres/roles.sql
--
-- From then on nobody else may connect to this database. Who is granted one of the roles may, if
-- they inherit its rights (the default); everybody else who should, such as other programs that
-- have tables of their own in it, needs GRANT CONNECT. Its owner and superusers always may.
--
-- Then give those who log in their passwords, typed unseen. psql sends the server a verifier of
-- each; ALTER ROLE ... PASSWORD 'in clear' would stand in its log of statements:
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
            ('resolution_operator', 'LOGIN'),   -- what people on call connect as
            ('resolution_reader', 'NOLOGIN')    -- grant it to whoever reads the views
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
    -- Whoever else has a role on this server has no business here, and whoever uses this database
    -- for something else is granted it: GRANT CONNECT ON DATABASE ... TO ...
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- To create the schema, which it then owns.
    EXECUTE format('GRANT CREATE ON DATABASE %I TO resolution_migrator', current_database());
END
$$;

-- Bounds stand on the roles: a pooler in transaction mode refuses them as start-up parameters.
-- The worker gives up a call after 15 s itself; the server is to be quicker, and to say why.
ALTER ROLE resolution_worker SET statement_timeout = '5s';
ALTER ROLE resolution_worker SET lock_timeout = '3s';
ALTER ROLE resolution_worker SET idle_in_transaction_session_timeout = '10s';

-- People wait longer for an answer than a worker does, and `erase` reads the whole ledger. None of
-- them is to stand in a worker's way for long.
ALTER ROLE resolution_operator SET statement_timeout = '2min';
ALTER ROLE resolution_operator SET lock_timeout = '5s';
ALTER ROLE resolution_operator SET idle_in_transaction_session_timeout = '1min';

-- `migrate` sets its own bounds for each migration; these hold for what is typed by hand.
ALTER ROLE resolution_migrator SET lock_timeout = '5s';
ALTER ROLE resolution_migrator SET idle_in_transaction_session_timeout = '1min';
