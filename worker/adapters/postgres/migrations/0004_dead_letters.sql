-- What on-call works with: groups of dead letters, their history, replays.
-- Workers of the version before keep writing letters as they did: what they do not know has a
-- default, and is never relied on without the state beside it.

ALTER TABLE resolution.dead_letter
    -- A short hash of reason, error code and the message without what differs from one to the next.
    ADD COLUMN group_key text COLLATE "C",
    -- The `failed_at` that the group was found for: another one, or none, means that a worker of
    -- the version before has told the letter since, and that the group is to be found anew.
    ADD COLUMN grouped_at timestamptz,
    ADD COLUMN replays integer NOT NULL DEFAULT 0 CHECK (replays >= 0),
    -- The replay that has claimed it, or did last. No foreign key: a letter outlives the replays.
    ADD COLUMN replay_id bigint,
    -- These two say something only while the state is `replaying`.
    ADD COLUMN claimed_at timestamptz,
    ADD COLUMN published_at timestamptz,
    -- Says something only while the state is neither `open` nor `replaying`.
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN shredded_at timestamptz,
    -- NULL: the payload was shredded.
    ALTER COLUMN sealed DROP NOT NULL;

-- Each command `dead-letters replay` is one row.
CREATE TABLE resolution.replay (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'finished', 'aborted', 'interrupted')),
    -- Not what the actor claims to be, but what the server let in.
    session_user_name text NOT NULL DEFAULT session_user,
    actor text NOT NULL CHECK (actor <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    selection jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    -- A replay that runs says so again and again: claims of one that has fallen silent are free.
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    chosen integer NOT NULL DEFAULT 0 CHECK (chosen >= 0),
    published integer NOT NULL DEFAULT 0 CHECK (published >= 0),
    refused integer NOT NULL DEFAULT 0 CHECK (refused >= 0)
);

CREATE INDEX replay_running ON resolution.replay (heartbeat_at) WHERE state = 'running';

-- What happened to a letter, oldest first: one history however often it dies.
CREATE TABLE resolution.letter_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id bigint NOT NULL REFERENCES resolution.dead_letter ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL CHECK (
        kind IN (
            'failed', 'claimed', 'replayed', 'released', 'refused', 'resolved', 'discarded',
            'archived', 'revealed', 'shredded', 'resealed'
        )
    ),
    error_code text,
    error_message text,
    attempts integer CHECK (attempts >= 0),
    actor text,
    reason text,
    replay_id bigint
);

CREATE INDEX letter_event_by_letter ON resolution.letter_event (letter_id, id);

-- One index holds all that letters are chosen by, so that any filter is answered from it alone.
-- It takes the place of three narrower ones.
CREATE INDEX dead_letter_by_choice ON resolution.dead_letter (state, failed_at, id)
    INCLUDE (reason, error_code, seller, group_key, redeemable_until, first_failed_at, message_id);
DROP INDEX resolution.dead_letter_by_time;
DROP INDEX resolution.dead_letter_by_reason;
DROP INDEX resolution.dead_letter_by_error;

CREATE INDEX dead_letter_by_message ON resolution.dead_letter (message_id);
CREATE INDEX dead_letter_ungrouped ON resolution.dead_letter (id)
    WHERE grouped_at IS DISTINCT FROM failed_at;
-- Claims that are to be looked after, and payloads that are to be shredded.
CREATE INDEX dead_letter_claimed ON resolution.dead_letter (replay_id, id)
    WHERE state = 'replaying';
CREATE INDEX dead_letter_unshredded ON resolution.dead_letter (received_at)
    WHERE sealed IS NOT NULL;
