-- A database says what it is. One that is marked is a playground: a stand-in for AWS may make its
-- customers up. It is marked while it is empty, by `migrate --stand-in`, and for good.
CREATE TABLE resolution.stand_in (
    one boolean PRIMARY KEY DEFAULT TRUE CHECK (one),
    marked_at timestamptz NOT NULL DEFAULT now(),
    marked_by text NOT NULL DEFAULT session_user
);
