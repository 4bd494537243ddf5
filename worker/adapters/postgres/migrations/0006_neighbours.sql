-- What keeps one bad neighbour from harming the others: which replica AWS refuses while it accepts
-- the rest, which one died, and times that no stranger has set.
-- Workers of the version before know nothing of it: what they leave out has a default, or says
-- that nothing is known.

ALTER TABLE resolution.replica
    -- Why AWS refuses this replica's calls, since when, and how often it has looked whether that
    -- is over; null while AWS accepts them or has not been asked.
    ADD COLUMN refused_code text,
    ADD COLUMN refused_message text,
    ADD COLUMN refused_at timestamptz,
    ADD COLUMN probes integer NOT NULL DEFAULT 0 CHECK (probes >= 0),
    -- When AWS last accepted a call of its.
    ADD COLUMN accepted_at timestamptz,
    -- When another replica first noticed that its lease had lapsed. A process that lives renews
    -- its lease soon after, and this is null again; one that has died never does.
    ADD COLUMN missed_at timestamptz,
    -- Messages that it handles apart from all others, since one of them may end the process.
    ADD COLUMN suspected integer NOT NULL DEFAULT 0 CHECK (suspected >= 0),
    -- By how much its machine's clock is ahead of this server's.
    ADD COLUMN skew_seconds double precision;

-- When a worker first saw the token. Null in rows of the version before, which were settled by a
-- token's age as publishers told it.
ALTER TABLE resolution.ledger ADD COLUMN first_seen_at timestamptz;

-- --- nothing is shredded or deleted on a stranger's word for the time ---

CREATE OR REPLACE FUNCTION resolution.shred_payloads(most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT id
        FROM resolution.dead_letter
        WHERE
            sealed IS NOT NULL
            AND first_failed_at < now() - interval '4 hours'
            AND coalesce(redeemable_until, '-infinity') < now()
            AND (reason NOT IN ('malformed', 'parked') OR failed_at < now() - interval '1 day')
            AND (state <> 'replaying' OR claimed_at < now() - interval '1 hour')
        ORDER BY first_failed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    shredded AS (
        UPDATE resolution.dead_letter
        SET sealed = NULL, shredded_at = now()
        FROM due
        WHERE dead_letter.id = due.id
        RETURNING dead_letter.id
    ),

    told AS (
        INSERT INTO resolution.letter_event (letter_id, kind, reason)
        SELECT id, 'shredded', 'past its token''s lifetime' FROM shredded
        RETURNING id
    )

    SELECT count(*) FROM told
$$;

DROP INDEX resolution.dead_letter_unshredded;
CREATE INDEX dead_letter_unshredded ON resolution.dead_letter (first_failed_at)
    WHERE sealed IS NOT NULL;

-- By this server's clock; of what is there already, no more is known than that it came before.
ALTER TABLE resolution.malformed_message ADD COLUMN noted_at timestamptz NOT NULL DEFAULT now();

CREATE OR REPLACE FUNCTION resolution.prune_malformed(older_than interval, most integer)
RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT body_sha256, message_id
        FROM resolution.malformed_message
        WHERE noted_at < now() - greatest(older_than, interval '1 day')
        ORDER BY noted_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED
    ),

    gone AS (
        DELETE FROM resolution.malformed_message AS message
        USING due
        WHERE message.body_sha256 = due.body_sha256 AND message.message_id = due.message_id
        RETURNING message.message_id
    )

    SELECT count(*) FROM gone
$$;

DROP INDEX resolution.malformed_message_by_time;
CREATE INDEX malformed_message_by_time ON resolution.malformed_message (noted_at);
