-- Who has done what by hand, and why. It only grows: deploy/postgres/grants.sql lets the worker's
-- role insert and read, and nobody but the schema's owner change or delete.

CREATE TABLE resolution.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    -- Not what the actor claims to be, but what the server let in.
    session_user_name text NOT NULL DEFAULT session_user,
    actor text NOT NULL CHECK (actor <> ''),
    reason text NOT NULL,
    action text NOT NULL CHECK (action <> ''),
    -- What it was done to. Nothing that names a customer: an entry outlives an erasure.
    subject jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_by_time ON resolution.audit (at, id);
