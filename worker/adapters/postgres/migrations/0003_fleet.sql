-- What the replicas of each seller account share: the rate of calls, who takes part in it, why
-- calls are stopped, and what operators have said. Small tables that change each second: half of
-- each page is left free, so that a row is replaced on its own page and no index is touched.

CREATE TABLE resolution.quota (
    seller text PRIMARY KEY,
    -- Counts what must be seen before the rate is written: a lease that was computed from an
    -- older version is computed again. So nobody holds a lock while it computes.
    version bigint NOT NULL DEFAULT 1,
    -- The search for the account's quota, and the rate it stands at; null before the first lease.
    state jsonb,
    rate double precision CHECK (rate > 0 AND rate < 'Infinity'),
    singly boolean NOT NULL DEFAULT false,
    replicas integer NOT NULL DEFAULT 1 CHECK (replicas >= 1),
    next_permit_at timestamptz,
    last_probe_at timestamptz,
    -- An operator's word in place of the configured ceiling; Infinity is none at all.
    ceiling double precision CHECK (ceiling > 0 AND ceiling <= 'Infinity'),
    ceiling_actor text,
    ceiling_reason text,
    ceiling_at timestamptz,
    pause_actor text,
    pause_reason text,
    paused_at timestamptz,
    CONSTRAINT quota_ceiling_has_an_author CHECK (
        num_nonnulls(ceiling, ceiling_actor, ceiling_reason, ceiling_at) IN (0, 4)
    ),
    CONSTRAINT quota_pause_has_an_author CHECK (
        num_nonnulls(pause_actor, pause_reason, paused_at) IN (0, 3)
    )
) WITH (fillfactor = 50);

CREATE TABLE resolution.replica (
    seller text NOT NULL,
    id text NOT NULL,
    -- Calls a second: what it could use, Infinity while tokens wait; and what it was granted.
    need double precision NOT NULL CHECK (need >= 0 AND need <= 'Infinity'),
    granted double precision NOT NULL CHECK (granted >= 0 AND granted < 'Infinity'),
    -- The ceiling in its settings, if any: the lowest of all that live holds.
    ceiling double precision CHECK (ceiling > 0 AND ceiling < 'Infinity'),
    identity text NOT NULL,
    version text NOT NULL,
    seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (seller, id)
) WITH (fillfactor = 50);

CREATE TABLE resolution.breaker (
    seller text NOT NULL,
    -- As whom AWS was called: a replica with other credentials is not stopped by this row.
    identity text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    opened_at timestamptz NOT NULL,
    opened_by text NOT NULL,
    probes integer NOT NULL DEFAULT 0 CHECK (probes >= 0),
    next_probe_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (seller, identity)
) WITH (fillfactor = 50);
