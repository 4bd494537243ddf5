-- A pause may be given a time at which it ends by itself, by the database's clock.

-- Null for a pause that lasts until somebody ends it.
ALTER TABLE resolution.quota ADD COLUMN pause_until timestamptz;

-- Whoever writes the row next, as each replica does about once a second with its lease, ends a pause
-- whose time is over. So replicas of the version before, which know nothing of that time, are told too.
-- Newer ones read the time themselves, and do not wait for this.
CREATE FUNCTION resolution.end_pause() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.paused_at IS NULL THEN
        NEW.pause_until := NULL;  -- somebody has ended it earlier
    ELSIF NEW.pause_until <= clock_timestamp() THEN
        INSERT INTO resolution.audit (actor, reason, action, subject)
        VALUES (
            'resolution-worker', 'the time that the pause was given is over', 'resume',
            jsonb_build_object(
                'seller', NEW.seller, 'changed', TRUE, 'paused_by', NEW.pause_actor,
                'until', NEW.pause_until
            )
        );
        NEW.pause_actor := NULL;
        NEW.pause_reason := NULL;
        NEW.paused_at := NULL;
        NEW.pause_until := NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER quota_pause_ends BEFORE UPDATE ON resolution.quota
FOR EACH ROW WHEN (new.pause_until IS NOT NULL) EXECUTE FUNCTION resolution.end_pause();

-- Stops the calls of a seller's replicas, for so many seconds or, with null, until `resume`; the pause
-- that stands, and whether it is this one. One that stood already stays as it is: whoever ends it shall
-- know whose it was. The function with three arguments is for programs of the version before.
CREATE FUNCTION resolution.pause(
    of_seller text, by_actor text, for_reason text, for_seconds double precision
) RETURNS TABLE (
    pause_actor text, pause_reason text, paused_at timestamptz, pause_until timestamptz,
    changed boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stood resolution.quota := resolution.hold_quota(of_seller);
    began timestamptz := clock_timestamp();
BEGIN
    IF for_seconds NOT BETWEEN 1 AND 604800 THEN
        RAISE EXCEPTION 'a pause lasts from a second to seven days'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF stood.paused_at IS NULL THEN
        UPDATE resolution.quota
        SET
            pause_actor = by_actor,
            pause_reason = for_reason,
            paused_at = began,
            pause_until = began + make_interval(secs => for_seconds)
        WHERE seller = of_seller;
    END IF;
    PERFORM resolution.write_audit(by_actor, for_reason, 'pause', jsonb_strip_nulls(
        jsonb_build_object(
            'seller', of_seller, 'changed', stood.paused_at IS NULL, 'for_seconds', for_seconds
        )
    ));
    RETURN QUERY
    SELECT pause_actor, pause_reason, paused_at, pause_until, stood.paused_at IS NULL
    FROM resolution.quota
    WHERE seller = of_seller;
END
$$;

-- Whoever may use the schema could call them otherwise.
REVOKE ALL ON FUNCTION
    resolution.end_pause(), resolution.pause(text, text, text, double precision)
FROM PUBLIC;
