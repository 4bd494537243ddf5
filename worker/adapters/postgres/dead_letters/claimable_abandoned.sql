-- In `claim`: claims that were not marked as published, of replays that ended or fell silent, and
-- those of its own that a lost connection left in doubt.
state = 'replaying' AND published_at IS NULL AND NOT {held}
